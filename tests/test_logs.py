"""What is in the log: everything that happened, with its turn, and nothing that was said."""

import json
import logging

import pytest

from demo.logs import JsonLines, Words, beside, in_turn, set_up_logging


@pytest.fixture
def root(monkeypatch):
    """The root logger, left as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield root
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:], root.level = before, level


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_file_has_turns_and_traces_and_no_words(root, tmp_path):
    set_up_logging(tmp_path / "new" / "demo.log").close()
    root.setLevel(logging.INFO)
    log = logging.getLogger("demo.test")
    log.info("Ready.")
    with in_turn(7):
        log.info("Turn %d: %s", 7, Words("My name is Eve."))
        try:
            raise ValueError("x")
        except ValueError:
            log.exception("failed")
    first, second, third = lines_of(tmp_path / "new" / "demo.log")
    assert first["text"] == "Ready." and "turn" not in first and first["level"] == "INFO"
    assert second["text"] == "Turn 7: …" and second["turn"] == 7
    assert "ValueError" in third["trace"] and third["turn"] == 7
    assert "Eve" not in (tmp_path / "new" / "demo.log").read_text()


def test_the_file_is_renewed_when_it_is_full(root, tmp_path):
    set_up_logging(tmp_path / "demo.log").close()
    root.setLevel(logging.INFO)
    for number in range(700):
        logging.getLogger("demo.test").info("%d %s", number, "x" * 20_000)
    files = sorted(tmp_path.glob("demo.log*"))
    assert len(files) == 6 and all(file.stat().st_size <= 1_000_000 for file in files)


def test_a_sentence_with_a_mapping_or_nothing_is_formatted():
    record = logging.LogRecord("a", logging.INFO, "", 0, "100 %", None, None)
    assert json.loads(JsonLines().format(record))["text"] == "100 %"


def test_each_process_has_a_file_of_its_own(tmp_path):
    assert beside(tmp_path / "demo.log", "server") == tmp_path / "demo.server.log"
    assert beside(None, "server") is None
