"""The one family of errors a user is meant to read."""


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the thing and the remedy.

    Command lines print it without a traceback and exit with status 2.
    """
