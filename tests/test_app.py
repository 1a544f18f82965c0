"""The whole program, as its command line runs it: headless, with the real engines where they are installed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from demo.app import main
from demo.models import ModelStore
from demo.settings import Settings
from tests.conftest import missing
from tests.test_llm import Service, chunk

REPOSITORY = Path(__file__).resolve().parent.parent
QUESTION = REPOSITORY / "assets" / "questions" / "1_who_are_you.wav"
WEIGHTS = Settings().talker


@pytest.fixture(scope="module")
def engines() -> None:
    """Skips where the real engines are not installed."""
    if not WEIGHTS.is_file():
        missing(f"{WEIGHTS} is missing; train it as README.md says")
    for model in ("smollm2-135m", "whisper-tiny-en"):
        if not ModelStore().has(model):
            missing(f"the model {model} is missing; run 'python -m demo.models'")


def demo(*arguments: object, **environment: str) -> subprocess.Popen:
    """``run_demo.py`` in a process group of its own."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.Popen(
        [sys.executable, "run_demo.py", "--headless", *map(str, arguments)],
        cwd=REPOSITORY,
        env=known | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def watch(process: subprocess.Popen, line: str, act: Callable[[], None]) -> list[str]:
    """All lines the process prints, after ``act`` was called at the first that begins with ``line``."""
    guard = threading.Timer(90, process.kill)
    guard.start()
    lines: list[str] = []
    assert process.stderr is not None
    for text in process.stderr:
        lines.append(text.rstrip("\n"))
        if text.startswith(line) and sum(each.startswith(line) for each in lines) == 1:
            act()
    process.wait()
    guard.cancel()
    return lines


def children(process: subprocess.Popen) -> list[int]:
    """The server process among the program's children."""
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = [int(pid) for pid in listing.read_text().split()]
    return [pid for pid in pids if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def durations(film: Path) -> tuple[float, float]:
    """Seconds of video and of audio, after checking the codecs."""
    with av.open(str(film)) as file:
        assert [stream.codec_context.name for stream in file.streams] == ["h264", "aac"]
        video, audio = (float(stream.duration * stream.time_base) for stream in file.streams)
    assert abs(video - audio) < 0.05
    return video, audio


def test_a_server_lists_its_hanging_threads_beside_its_log(monkeypatch):
    given = []

    async def guarded(settings, ready, stop, load, stacks):
        given.append(stacks)

    monkeypatch.setattr("demo.server._serve_guarded", guarded)
    monkeypatch.setattr("demo.app.set_up_logging", lambda file: "the file beside it")
    assert main(["--serve"]) == 0
    assert given == ["the file beside it"]


# --- what is refused at once -----------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A folder with recordings that cannot be used."""
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not sound at all\n" * 99)
    (tmp_path / "cut.wav").write_bytes(QUESTION.read_bytes()[:9000])
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    return tmp_path


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *(
            (option, name)
            for option in ("--question", "--speech")
            for name in ("missing", "empty", "text", "cut", "none")
        ),
        ("--question", "silent"),  # which can be performed
    ],
)
def test_a_recording_that_cannot_be_used(recordings, option, name, capsys):
    assert main(["--headless", option, str(recordings / f"{name}.wav")]) == 2
    check_sentence(capsys.readouterr().err, f"{name}.wav")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--say", ""], "--say"),
        (["--say", "🎉"], "--say"),
        (["--text", ""], "--text"),
        (["--avatar", "nobody"], "nobody"),
        (["--talker", "gone.safetensors"], "gone.safetensors"),
        (["--record", "/"], "--record"),
        (["--trace", f"{__file__}/trace.json"], "--trace"),
        (["--server", "localhost:1"], "--server"),
        (["--config", "gone.toml"], "gone.toml"),
        (["--size", "0"], "--size"),
        (["--port", "65536"], "--port"),
        (["--threads", "0"], "--threads"),
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_be_obeyed(arguments, named, capsys):
    assert main(["--headless", *(["--text", "Hi?"] if "--text" not in arguments else []), *arguments]) == 2
    check_sentence(capsys.readouterr().err, named)


def test_damaged_weights(tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"\x10" * 5000)
    assert main(["--headless", "--text", "Hi?", "--talker", str(weights)]) == 2
    check_sentence(capsys.readouterr().err, "weights.safetensors is damaged")


def test_a_persona_with_a_wrong_key_is_told_by_the_server_process(tmp_path, engines):
    (tmp_path / "persona.toml").write_text('nmae = "Maya"\n')
    process = demo("--text", "Hi?", "--persona", tmp_path / "persona.toml", "--trace", tmp_path / "trace.json")
    check_sentence("\n".join(watch(process, "?", lambda: None)), "'nmae'")
    assert process.returncode == 2
    assert not (tmp_path / "trace.json").exists()  # there was no session


def check_sentence(said: str, named: str) -> None:
    """One line that names the thing, says what to do and ends as a sentence."""
    assert named in said and said.strip().endswith(".") and said.strip().count("\n") == 0
    assert ";" in said and "Traceback" not in said


# --- whole sessions --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_conversation_that_was_held_headless(tmp_path, engines):
    film, trace = tmp_path / "new" / "film.mp4", tmp_path / "deep" / "trace.json"
    process = demo("--text", "Who are you?", "--record", film, "--trace", trace, "--size", 256)
    lines = watch(process, "?", lambda: None)
    assert process.returncode == 0, lines
    report = json.loads(trace.read_text(encoding="utf-8"))
    assert report["version"] == 1 and 0 < report["cold_start_s"] < 60 and report["peak_rss_mb"] > 100
    assert set(report["engines"]) == {"llm", "tts", "talker", "device"} and report["engines"]["tts"] == "hibari"
    (turn,) = report["turns"]
    assert turn["transcript"] == "Who are you?" and "Maya" in turn["reply"]
    assert turn["frames_generated"] == pytest.approx(30 * turn["audio_seconds"], abs=2)
    assert 0 < turn["frames_rendered"] <= turn["frames_generated"]
    spans = turn["spans_ms"]
    assert sum(value for name, value in spans.items() if name != "voice_to_voice") == pytest.approx(
        spans["voice_to_voice"], abs=0.1
    )
    assert {"min", "p5", "p50", "p95", "max", "max_abs"} == set(turn["av_offset_ms"])
    assert min(durations(film)) > turn["audio_seconds"]


@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the server process in /proc")
def test_an_interrupted_session_loses_nothing(tmp_path, engines):
    film, trace = tmp_path / "film.mp4", tmp_path / "trace.json"
    process = demo("--text", "Who are you?", "--record", film, "--trace", trace, "--size", 256)
    servers: list[int] = []

    def end() -> None:
        servers.extend(children(process))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does

    lines = watch(process, "Turn 1", end)
    assert process.returncode == 130, lines
    assert not any("Traceback" in line for line in lines)
    assert len(servers) == 1 and not is_running(servers[0])
    (turn,) = json.loads(trace.read_text(encoding="utf-8"))["turns"]
    assert turn["transcript"] == "Who are you?"
    durations(film)


@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the server process in /proc")
def test_a_session_outlives_its_server(tmp_path, engines):
    trace = tmp_path / "trace.json"
    process = demo("--text", "Who are you?", "Where are you?", "--trace", trace, "--size", 256)
    lines = watch(process, "Turn 1", lambda: os.kill(children(process)[0], signal.SIGKILL))
    assert process.returncode == 0, lines
    assert not any("Traceback" in line for line in lines)
    assert sum("The server was lost" in line for line in lines) == 1
    turns = json.loads(trace.read_text(encoding="utf-8"))["turns"]
    heard = [turn for turn in turns if not turn["interrupted"]]
    assert [turn["transcript"] for turn in heard][-1] == "Where are you?"
    assert heard[0]["transcript"] in ("Who are you?", "")  # asked again, or an apology: something had been heard
    assert len(heard) == 2


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than as an entry nobody has read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.timeout(120)
def test_an_answer_that_breaks_off_is_spoken_with_an_apology(tmp_path, engines):
    service = Service()
    service.parts, service.cut = [chunk("It is Madrid. It lies on the "), chunk("river")], True
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    trace = tmp_path / "trace.json"
    process = demo("--text", "What is the capital of Spain?", "--trace", trace, OPENAI_BASE_URL=service.url)
    try:
        lines = watch(process, "?", lambda: None)
    finally:
        service.shutdown()
        service.server_close()
    assert process.returncode == 0, lines
    (turn,) = json.loads(trace.read_text(encoding="utf-8"))["turns"]
    assert turn["reply"].startswith("It is Madrid.") and "I lost the thread" in turn["reply"]
    assert (
        sum("broke off" in line for line in lines[lines.index(next(x for x in lines if x.startswith("Turn"))) :]) == 1
    )


@pytest.mark.timeout(120)
def test_a_question_that_is_only_noise_makes_no_turn(tmp_path, engines):
    rng, rate = np.random.default_rng(0), 16_000
    soundfile.write(tmp_path / "noise.wav", rng.normal(0, 0.1, 2 * rate).astype(np.float32), rate)
    trace = tmp_path / "trace.json"
    process = demo("--question", tmp_path / "noise.wav", "--trace", trace, "--size", 256, "--stt", "whisper")
    lines = watch(process, "?", lambda: None)
    assert process.returncode == 0, lines
    assert json.loads(trace.read_text(encoding="utf-8"))["turns"] == []
    assert any("Nobody speaks in" in line and "noise.wav" in line for line in lines)
