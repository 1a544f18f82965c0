"""The one family of errors a user is meant to read, and how a command line tells them."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the thing and the remedy.

    Command lines print it without a traceback and exit with status 2.
    """


def command_line(main: Callable[P, int]) -> Callable[P, int]:
    """For a ``main`` that gives its exit status: a UserError is told and becomes 2, Ctrl-C becomes 130."""

    @functools.wraps(main)
    def told(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130

    return told
