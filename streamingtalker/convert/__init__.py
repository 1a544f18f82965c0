"""The paper's published files made into ours; see ``python -m streamingtalker.convert --help``."""

from streamingtalker.convert.errors import ConvertError
from streamingtalker.convert.released import from_released

__all__ = ["ConvertError", "from_released"]
