"""What can be wrong with the files of others."""

from streamingtalker.errors import UserError


class ConvertError(UserError):
    """A file that cannot be converted: missing, damaged, of another kind, or with something in it that may not run."""
