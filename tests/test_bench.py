"""Latency: what is counted, how it is summed up, what is written."""

import json
import wave

import numpy as np
import pytest

from streamingtalker.bench import main
from streamingtalker.benchmark import models
from streamingtalker.benchmark.timing import (
    Contender,
    Summary,
    Timing,
    cut,
    measure,
    slope,
    sound_needed,
    streaming,
    sweep,
    whole_clip,
)
from streamingtalker.config import frame_count
from tests.conftest import tiny_talker


def summary(seconds: float, first: float, per_frame: float) -> Summary:
    return Summary(seconds, 1, first, first, first, per_frame, per_frame, per_frame)


def test_slope_is_the_change_over_all_lengths_as_a_share_of_the_mean():
    rows = [summary(s, first=10 * s, per_frame=5) for s in (3, 15, 27)]
    assert slope(rows, "first_work") == pytest.approx((270 - 30) / 150)
    assert slope(rows, "per_frame_median") == pytest.approx(0)


def test_summaries_are_milliseconds():
    timings = [Timing(0.010, 0.20, 0.009, 0.18, 10), Timing(0.030, 0.40, 0.008, 0.16, 10)]
    found = Summary.of(3, timings)
    assert found.first_median == pytest.approx(20) and found.first_work == pytest.approx(8)
    assert found.first_p95 == pytest.approx(29)
    assert found.per_frame_median == pytest.approx(30) and found.per_frame_work == pytest.approx(16)


def test_every_length_is_measured_after_a_warm_up_and_lengths_alternate():
    heard = []

    def run(pcm):
        heard.append(len(pcm) // 16000)
        yield 0
        yield 2

    rows = sweep([Contender("fake", run, causal=True)], np.zeros(16000, np.float32), [1, 2], runs=2)["fake"]
    assert heard == [1, 1, 2, 2, 1]
    assert [row.seconds for row in rows] == [1, 2] and all(row.runs == 2 for row in rows)


def test_a_stream_gives_its_first_frame_early_and_the_whole_clip_at_its_end():
    talker, pcm = tiny_talker(), cut(np.random.default_rng(0).normal(size=16000) * 0.1, 2.5)
    early, late = (list(contender.run(pcm)) for contender in (streaming(talker), whole_clip(talker)))
    assert sum(early) == sum(late) == frame_count(len(pcm), talker.dims.fps)
    assert len(late) == 1 and len([count for count in early if count]) >= 4
    timing = measure(streaming(talker), pcm)
    assert 0 < timing.first < timing.total and timing.frames == 75
    needed = sound_needed(talker, pcm)
    assert 0 < needed < 1.5 and needed * 10 == pytest.approx(round(needed * 10))


def test_cut_repeats_and_cuts():
    assert cut(np.array([1.0, 2.0]), 3 / 16000).tolist() == [1, 2, 1]


def test_the_command_writes_figures_machine_and_drawing(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(models, "load_talker", lambda path, device, recogniser: tiny_talker())
    speech = tmp_path / "speech.wav"
    with wave.open(str(speech), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.random.default_rng(0).normal(size=8000) * 3000).astype("<i2").tobytes())
    report, drawing = tmp_path / "latency.json", tmp_path / "latency.png"
    command = ["latency", "--speech", speech, "--lengths", 1, 2, "--runs", 2, "--json", report, "--figure", drawing]
    assert main(list(map(str, command))) == 0
    document = json.loads(report.read_text())
    assert {"processor", "cores", "torch_threads", "system", "torch"} <= set(document["machine"])
    ours, whole = document["contenders"].values()
    assert [row["seconds"] for row in ours["lengths"]] == [1, 2] and set(ours["change"]) == {"first", "per_frame"}
    assert whole["change"]["first"] > 0.3  # it waits for the last frame
    assert drawing.read_bytes()[:4] == b"\x89PNG"
    told = capsys.readouterr().out
    assert "diffusion head" in told and "ours, streaming | 2 |" in told


def test_an_unknown_measurement_is_told_what_there_is(capsys):
    assert main(["speed"]) == 2
    assert "latency" in capsys.readouterr().err
