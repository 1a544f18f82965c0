"""A stand of our own to measure on: a virtual screen (Xvfb), and PulseAudio with a virtual loudspeaker and microphone.

Programs under measurement run as processes of their own with ``screen.env | sound.env`` in their environment.
Linux only.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamingtalker.errors import UserError

MONITOR_RATE = 48000  # Hz

SPEAKER = (  # the arguments of pactl that plug it in
    "load-module module-null-sink sink_name=speaker rate=48000 channels=2 sink_properties=device.description=Speaker"
)
MICROPHONE = (
    "load-module module-null-sink sink_name=hall rate=48000 channels=1 sink_properties=device.description=Hall",
    "load-module module-remap-source source_name=microphone master=hall.monitor",
    "set-default-source microphone",
)
_SCRIPT = f"""
load-module module-native-protocol-unix socket={{socket}}
{SPEAKER}
{chr(10).join(MICROPHONE)}
set-default-sink speaker
"""
_READY_SECONDS = 20.0
_GOODBYE_SECONDS = 10.0


class RigError(UserError):
    """What a measurement needs does not start."""


class ProgramMissingError(RigError):
    """What a measurement needs is not on this machine."""


@dataclass(frozen=True)
class VirtualScreen:
    """A virtual screen of 1280 x 800 pixels."""

    env: dict[str, str]
    process: "subprocess.Popen[bytes]"


@contextmanager
def virtual_screen(number: str = "") -> Iterator[VirtualScreen]:
    """An Xvfb, as display ``:number`` or a free one. Raises RigError."""
    need("Xvfb", "xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", *([f":{number}"] if number else []), "-displayfd", str(writing)]
    xvfb = subprocess.Popen(
        [*command, "-screen", "0", "1280x800x24", "-nolisten", "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()  # written when it is ready
        if not number:
            raise RigError("Xvfb did not start; run it by hand, it tells why.")
        yield VirtualScreen({"DISPLAY": f":{number}"}, xvfb)
    finally:
        _end(xvfb)


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


@dataclass
class SoundServer:
    """PulseAudio with a loudspeaker whose sound can be recorded and a microphone into which files can be played."""

    env: dict[str, str]
    folder: Path
    process: "subprocess.Popen[bytes]"

    def play_into_microphone(self, wav: Path, volume: float = 1.0) -> None:
        """Play a file into the virtual microphone; returns when it has been heard."""
        self.start_playing(wav, volume).wait(300)

    def start_playing(self, wav: Path, volume: float = 1.0) -> "subprocess.Popen[bytes]":
        """Begin to play a file into the virtual microphone, beside what plays there already."""
        command = ["paplay", "--device=hall", f"--volume={round(volume * 65536)}", str(wav)]
        return subprocess.Popen(command, env=os.environ | self.env, stderr=subprocess.DEVNULL)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record the loudspeaker's monitor, mono, until the block ends."""
        with recording_of("speaker.monitor", self.env) as recording:
            yield recording

    def pactl(self, *arguments: str) -> str:
        """Ask or tell the server something. Raises subprocess.SubprocessError where it does not obey."""
        command = ["pactl", *arguments]
        done = subprocess.run(
            command, env=os.environ | self.env, check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(_GOODBYE_SECONDS)

    def restart(self) -> None:
        """Start it anew at the same address, after ``kill``. Raises RigError."""
        self.process = _start_pulse(self.folder, self.env)


@contextmanager
def sound_server(folder: Path) -> Iterator[SoundServer]:
    """A PulseAudio that keeps its files in ``folder``. Raises RigError."""
    for program, packages in (("pulseaudio", "pulseaudio libasound2-plugins"), ("pactl", "pulseaudio-utils")):
        need(program, packages)
    socket = folder / "socket"
    env = {"XDG_RUNTIME_DIR": str(folder), "PULSE_SERVER": f"unix:{socket}", "PULSE_RUNTIME_PATH": str(folder)}
    env |= {"PULSE_COOKIE": str(folder / "cookie"), "HOME": str(folder)}
    server = SoundServer(env, folder, _start_pulse(folder, env))
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGCONT)  # a frozen one would not hear that it is to end
        _end(server.process)


def _start_pulse(folder: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    script, socket = folder / "start.pa", folder / "socket"
    socket.unlink(missing_ok=True)
    (folder / "pid").unlink(missing_ok=True)
    script.write_text(_SCRIPT.format(socket=socket), "utf-8")
    command = ["pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "-n", "-F", str(script)]
    with (folder / "log").open("w") as log:
        pulse = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log)
    _wait_for_microphone(pulse, folder, env)
    return pulse


def _wait_for_microphone(pulse: "subprocess.Popen[bytes]", folder: Path, env: dict[str, str]) -> None:
    """The server tells nobody when it is ready: ask until its last module is there."""
    deadline = time.monotonic() + _READY_SECONDS
    command = ["pactl", "list", "short", "sources"]
    while time.monotonic() < deadline and pulse.poll() is None:
        asked = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=20)
        if "microphone" in asked.stdout:
            return
        time.sleep(0.1)
    _end(pulse)
    raise RigError(f"PulseAudio did not start; it said: {(folder / 'log').read_text('utf-8').strip()}")


@contextmanager
def recording_of(source: str, env: dict[str, str]) -> Iterator[Recording]:
    """Record a source of the sound server that ``env`` names, mono, until the block ends."""
    command = ["parec", f"--device={source}", "--format=s16le", f"--rate={MONITOR_RATE}", "--channels=1"]
    parec = subprocess.Popen([*command, "--latency-msec=10", "--raw"], env=os.environ | env, stdout=subprocess.PIPE)
    recording = Recording()
    listener = threading.Thread(target=_listen, args=(parec, recording), daemon=True)
    listener.start()
    try:
        yield recording
    finally:
        parec.terminate()
        parec.wait(_GOODBYE_SECONDS)
        listener.join(_GOODBYE_SECONDS)


@contextmanager
def busy_cores(busy: bool = True) -> Iterator[None]:
    """Another program that computes and computes on every core, if it is to be ``busy``."""
    count = (os.cpu_count() or 1) if busy else 0
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def _listen(parec: "subprocess.Popen[bytes]", recording: Recording) -> None:
    assert parec.stdout is not None
    while data := os.read(parec.stdout.fileno(), 9600):
        arrived = time.monotonic()
        recording.began = recording.began or arrived
        recording.pieces.append((arrived, np.frombuffer(data[: len(data) // 2 * 2], "<i2")))


def need(program: str, packages: str) -> None:
    """Raises ProgramMissingError where ``program`` is not installed."""
    if shutil.which(program) is None:
        raise ProgramMissingError(f"{program} is missing; on Debian or Ubuntu run 'sudo apt-get install {packages}'.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
