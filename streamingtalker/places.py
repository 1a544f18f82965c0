"""Whether something can be written, asked before the work is done that is to be written; and told where it fails."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from streamingtalker.errors import UserError


class PlaceError(UserError):
    """A file cannot be written where it is wanted."""


def make_place(path: Path, what: str) -> None:
    """Make sure that a file can be written at ``path``: its folder is made, nothing else is changed.

    ``what`` names the file for the user. Raises PlaceError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise PlaceError(
            f"{what} {path} cannot be written ({error.strerror or error}); choose another place."
        ) from error


@contextlib.contextmanager
def writing(what: object) -> Iterator[None]:
    """While ``what``, a path or a name, is written: what the system then refuses is a PlaceError."""
    try:
        yield
    except OSError as error:
        raise PlaceError(f"{what} cannot be written ({error}); check the place and its free space.") from error
