"""Whether something can be written, asked before the work is done that is to be written."""

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
