"""Checks that fail in every way; they run in processes of their own, which import this module and little else."""

import os
import time
from collections.abc import Iterator

from demo.doctor.findings import Finding, Level
from demo.settings import Settings
from streamingtalker.errors import UserError


def fine(_: Settings) -> Iterator[Finding]:
    yield Finding("a", Level.GREEN, "good")


def hangs(_: Settings) -> Iterator[Finding]:
    yield Finding("b", Level.GREEN, "first")
    time.sleep(60)


def crashes(_: Settings) -> Iterator[Finding]:
    os._exit(3)
    yield Finding("c", Level.GREEN, "never")


def refuses(_: Settings) -> Iterator[Finding]:
    raise UserError("The thing is broken; mend it.")
    yield


def errs(_: Settings) -> Iterator[Finding]:
    print("drivers are talkative")
    raise ZeroDivisionError("by\nzero")
    yield
