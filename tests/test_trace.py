"""The trace's spans add up and its file has the promised form."""

import json
from pathlib import Path

import pytest

from demo.trace import SPANS, SessionTrace, TraceError, TurnTrace, waited_ms


def test_spans_add_up_to_voice_to_voice():
    turn = TurnTrace(1, spans_ms={"endpoint": 500.0, "stt": 100.0, "llm_first_token": 50.0, "first_frame": 20.0})
    turn.finish_spans(900.0)
    assert turn.spans_ms["first_sample_played"] == pytest.approx(230.0)
    assert sum(turn.spans_ms[name] for name in SPANS if name in turn.spans_ms) == pytest.approx(900.0)
    assert turn.spans_ms["voice_to_voice"] == 900.0


STEPS = {"llm_first_token": 100.0, "llm_first_sentence": 50.0, "first_frame": 80.0}


@pytest.mark.parametrize(
    ("lead", "waited"),
    [
        (0.0, [100.0, 50.0, 80.0]),
        (120.0, [0.0, 30.0, 80.0]),
        (500.0, [0.0, 0.0, 0.0]),
        (-7.0, [107.0, 50.0, 80.0]),
    ],
)
def test_what_was_done_before_the_text_was_known_was_not_waited_for(lead, waited):
    assert list(waited_ms(STEPS, lead).values()) == waited


def test_the_file_has_the_promised_form(tmp_path):
    trace = SessionTrace(engines={"llm": "scripted"}, cold_start_s=1.23456)
    trace.turns.append(TurnTrace(1, transcript="Who are you?", reply="Maya.", audio_seconds=0.8, frames_generated=24))
    path = tmp_path / "deep" / "trace.json"
    trace.write(path)
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["version"] == 1
    assert report["cold_start_s"] == 1.235
    assert report["peak_rss_mb"] > 1
    assert set(report["turns"][0]) == {
        "turn",
        "transcript",
        "reply",
        "audio_seconds",
        "frames_generated",
        "frames_rendered",
        "frames_late",
        "generation_speed",
        "speculative",
        "interrupted",
        "heard_seconds",
        "underruns",
        "starved_ms",
        "dry",
        "silence_ms",
        "spans_ms",
        "av_offset_ms",
    }


def test_what_was_measured_survives_a_crash_until_the_report_is_written(tmp_path):
    journal = tmp_path / "new" / "trace.jsonl"
    trace = SessionTrace(journal=journal)
    for number in (1, 2):
        trace.add(TurnTrace(number, underruns=number))
    assert [json.loads(line)["underruns"] for line in journal.read_text("utf-8").splitlines()] == [1, 2]
    trace.write(tmp_path / "new" / "trace.json")
    assert len(trace.turns) == 2 and not journal.exists()


def test_what_a_session_measured_that_was_killed_is_kept_when_it_begins_anew(tmp_path, caplog):
    caplog.set_level("INFO")
    journal = tmp_path / "t.jsonl"
    for number in (7, 8, 9):  # the third ends in good order
        trace = SessionTrace(journal=journal)
        trace.keep_earlier()
        trace.add(TurnTrace(1, underruns=number))
        trace.add(TurnTrace(2, underruns=number))
    trace.write(tmp_path / "t.json")
    kept = [tmp_path / "t.1.jsonl", tmp_path / "t.2.jsonl"]
    assert sorted(tmp_path.glob("*.jsonl")) == kept
    assert [[json.loads(line)["underruns"] for line in each.read_text().splitlines()] for each in kept] == [
        [7] * 2,
        [8] * 2,
    ]
    assert all(str(each) in caplog.text for each in kept)


def test_a_journal_that_cannot_be_renamed_is_not_overwritten(tmp_path, monkeypatch, caplog):
    journal = tmp_path / "t.jsonl"
    SessionTrace(journal=journal).add(TurnTrace(1))

    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    trace = SessionTrace(journal=journal)
    trace.keep_earlier()
    trace.add(TurnTrace(1))
    assert len(journal.read_text().splitlines()) == 2 and "Permission denied" in caplog.text


def test_a_full_disk_does_not_end_the_conversation(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    trace = SessionTrace(journal=tmp_path / "file" / "trace.jsonl")
    trace.add(TurnTrace(1))
    assert len(trace.turns) == 1 and "Turn 1 is not in" in caplog.text


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TraceError, match=r"x\.json cannot be written"):
        SessionTrace().write(tmp_path / "file" / "x.json")
