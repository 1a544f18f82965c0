"""The log: sentences on standard error for who starts the program, lines of JSON in a file for who looks after it."""

import contextvars
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from streamingtalker.places import make_place

_BYTES = 1_000_000  # of one file
_FILES = 5
_TALKATIVE = ("httpx2", "httpcore2", "websockets", "openai", "faster_whisper", "OpenGL")

_turn: contextvars.ContextVar[int | None] = contextvars.ContextVar("turn", default=None)


class Words(str):
    """What somebody said: it is shown, and written in no file."""


@contextmanager
def in_turn(number: int) -> Iterator[None]:
    """What is logged inside, and in what is begun inside, belongs to turn ``number``."""
    token = _turn.set(number)
    try:
        yield
    finally:
        _turn.reset(token)


class JsonLines(logging.Formatter):
    """One object a line: time in UTC, level, module, turn where there is one, and the sentence without Words."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        text = record.getMessage()
        if isinstance(record.args, tuple) and any(isinstance(each, Words) for each in record.args):
            text = record.msg % tuple("…" if isinstance(each, Words) and each else each for each in record.args)
        line: dict[str, object] = {
            "time": self._time(record),
            "level": record.levelname,
            "from": record.name,
            "text": text,
        }
        if (turn := _turn.get()) is not None:
            line["turn"] = turn
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)

    def _time(self, record: logging.LogRecord) -> str:
        return f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}"


def set_up_logging(file: Path | None = None, level: int = logging.INFO) -> IO[str]:
    """Log to standard error, from ``level`` on, and all of it to ``file``, which is renewed five times when it is full.

    Gives where stacks of threads are to be written: beside the file, or standard error. Raises PlaceError.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = logging.getLogger()
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(level)
    for talkative in _TALKATIVE:
        logging.getLogger(talkative).setLevel(logging.WARNING)
    if file is None:
        return sys.stderr
    make_place(file, "--log")
    handler = RotatingFileHandler(file, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    return file.with_suffix(".stacks").open("a")


def beside(file: Path | None, name: str) -> Path | None:
    """The log of another process of the same session."""
    return None if file is None else file.with_suffix(f".{name}{file.suffix}")
