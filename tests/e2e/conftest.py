"""A display and a sound server of the tests' own: Xvfb, and PulseAudio with a virtual loudspeaker and microphone.

Programs under test run as processes of their own, with ``display.env | sound.env`` in their environment.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageGrab

from tests.conftest import missing

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MONITOR_RATE = 48000

_PULSE_SCRIPT = """
load-module module-native-protocol-unix socket={socket}
load-module module-null-sink sink_name=speaker rate=48000 channels=2 sink_properties=device.description=Speaker
load-module module-null-sink sink_name=hall rate=48000 channels=1 sink_properties=device.description=Hall
load-module module-remap-source source_name=microphone master=hall.monitor
set-default-sink speaker
set-default-source microphone
"""


@dataclass(frozen=True)
class Display:
    """A virtual screen of 1280 x 800 pixels."""

    env: dict[str, str]

    def screenshot(self) -> np.ndarray:
        """What the screen shows, uint8 [H, W, 3]."""
        picture = ImageGrab.grab(xdisplay=self.env["DISPLAY"])
        return np.asarray(picture.convert("RGB"))

    def type(self, *arguments: str) -> None:
        """Press keys as ``xdotool`` does, in the window under the pointer: ``key f``, ``keydown space`` …"""
        _need("xdotool", "xdotool")
        command = ["xdotool", "mousemove", "640", "400", *arguments]
        subprocess.run(command, env=os.environ | self.env, check=True, timeout=20)


@dataclass
class Recording:
    """What came out of the loudspeaker."""

    rate: int = MONITOR_RATE
    began: float = 0.0  # monotonic time at which the first piece arrived
    pieces: list[tuple[float, np.ndarray]] = field(default_factory=list)  # monotonic time of arrival, int16 [n]

    @property
    def pcm(self) -> np.ndarray:
        """Everything so far, float32 [n]."""
        pieces = [piece for _, piece in list(self.pieces)]
        return np.concatenate(pieces).astype(np.float32) / 32768 if pieces else np.zeros(0, np.float32)


@dataclass(frozen=True)
class SoundServer:
    """PulseAudio with a loudspeaker whose sound can be recorded and a microphone into which files can be played."""

    env: dict[str, str]

    def play_into_microphone(self, wav: Path) -> None:
        """Play a file into the virtual microphone; returns when it has been heard."""
        subprocess.run(
            ["paplay", "--device=hall", str(wav)],
            env=os.environ | self.env,
            check=True,
            timeout=120,
            capture_output=True,
        )

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record the loudspeaker's monitor, mono, until the block ends."""
        command = ["parec", "--device=speaker.monitor", "--format=s16le", f"--rate={MONITOR_RATE}", "--channels=1"]
        parec = subprocess.Popen(
            [*command, "--latency-msec=10", "--raw"], env=os.environ | self.env, stdout=subprocess.PIPE
        )
        recording = Recording()
        listener = threading.Thread(target=_listen, args=(parec, recording), daemon=True)
        listener.start()
        try:
            yield recording
        finally:
            parec.terminate()
            parec.wait(10)
            listener.join(10)

    def pactl(self, *arguments: str) -> str:
        """Ask or tell the server something."""
        command = ["pactl", *arguments]
        return subprocess.run(
            command, env=os.environ | self.env, check=True, capture_output=True, text=True, timeout=20
        ).stdout


def _listen(parec: subprocess.Popen, recording: Recording) -> None:
    assert parec.stdout is not None
    while data := os.read(parec.stdout.fileno(), 9600):
        arrived = time.monotonic()
        recording.began = recording.began or arrived
        recording.pieces.append((arrived, np.frombuffer(data[: len(data) // 2 * 2], "<i2")))


def run_module(name: str, *arguments: str, env: dict[str, str], timeout: float = 120) -> subprocess.CompletedProcess:
    """Run ``python -m name`` as a program of its own; fails the test with its output when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=REPOSITORY,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def display() -> Iterator[Display]:
    """A virtual display, for the whole run."""
    _need("Xvfb", "xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    xvfb = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()  # written when it is ready
        assert number, "Xvfb did not start"
        yield Display({"DISPLAY": f":{number}"})
    finally:
        xvfb.terminate()
        xvfb.wait(10)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoundServer]:
    """A sound server, for the whole run."""
    _need("pulseaudio", "pulseaudio pulseaudio-utils libasound2-plugins")
    folder = tmp_path_factory.mktemp("pulse")
    socket, script = folder / "socket", folder / "start.pa"
    script.write_text(_PULSE_SCRIPT.format(socket=socket), "utf-8")
    env = {"XDG_RUNTIME_DIR": str(folder), "PULSE_SERVER": f"unix:{socket}", "PULSE_RUNTIME_PATH": str(folder)}
    env |= {"PULSE_COOKIE": str(folder / "cookie"), "HOME": str(folder)}
    command = ["pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "-n", "-F", str(script)]
    with (folder / "log").open("w") as log:
        pulse = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log)
    try:
        server = SoundServer(env)
        _wait_for_microphone(server, pulse, folder / "log")
        yield server
    finally:
        pulse.terminate()
        pulse.wait(10)


def _wait_for_microphone(server: SoundServer, pulse: subprocess.Popen, log: Path) -> None:
    """The server tells nobody when it is ready: ask until its last module is there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and pulse.poll() is None:
        try:
            if "microphone" in server.pactl("list", "short", "sources"):
                return
        except subprocess.CalledProcessError:
            time.sleep(0.1)
    pytest.fail(f"PulseAudio did not start:\n{log.read_text('utf-8')}")


def _need(program: str, packages: str) -> None:
    if shutil.which(program) is None:
        missing(f"{program} is missing; on Debian or Ubuntu run 'sudo apt-get install {packages}'")
