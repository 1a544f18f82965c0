"""Sound devices: the one door to PortAudio, looking a device up by name, and the table of ``--list-devices``.

``import sounddevice`` already initialises PortAudio and fails where the library is missing, so it happens on request
and its failure is told with its remedy.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from streamingtalker.errors import UserError

Direction = Literal["input", "output"]
_SPOKEN = {"input": "microphone", "output": "loudspeaker"}
_USUAL_RATE = 48000.0  # Hz
_OPTION = {"input": "--input-device", "output": "--output-device"}


class DeviceError(UserError):
    """A microphone or loudspeaker that is missing, unknown or unusable."""


@dataclass(frozen=True)
class Device:
    """One sound device as PortAudio sees it."""

    index: int
    name: str
    host: str  # sound system: ALSA, Core Audio, WASAPI, ...
    inputs: int  # channels
    outputs: int  # channels
    rate: float  # Hz, the device's own
    default_input: bool
    default_output: bool

    def channels(self, direction: Direction) -> int:
        """Channels in that direction; 0 where the device has none."""
        return self.inputs if direction == "input" else self.outputs

    def is_default(self, direction: Direction) -> bool:
        """Whether the system would choose this device."""
        return self.default_input if direction == "input" else self.default_output


def load_portaudio() -> Any:  # noqa: ANN401 - a module, replaced by a fake in tests
    """The ``sounddevice`` module. Raises DeviceError where it or its library is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError("The package sounddevice is missing; run 'pip install -r requirements.txt'.") from error
    except OSError as error:
        raise DeviceError(
            f"Sound needs the PortAudio library ({error}); on Debian or Ubuntu run "
            "'sudo apt-get install libportaudio2', or use --headless."
        ) from error
    return sounddevice


class PortAudioStreams:
    """What is open in PortAudio: it sees new devices only when started anew, and that ends every stream."""

    def __init__(self, backend: Any = None) -> None:  # noqa: ANN401
        self._backend = backend or load_portaudio()
        self._lock = threading.RLock()
        self._open: set[Callable[[], None]] = set()

    @contextlib.contextmanager
    def opening(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Nobody looks for devices meanwhile. Afterwards ``interrupt`` is what closes the stream that was opened."""
        with self._lock:
            yield
            self._open.add(interrupt)

    def find(self, name: str | None, direction: Direction) -> Device:
        """As ``find_device``, while the table of devices stays as it is."""
        with self._lock:
            return find_device(name, direction, self._backend)

    def closed(self, interrupt: Callable[[], None]) -> None:
        """That stream is no longer open."""
        with self._lock:
            self._open.discard(interrupt)

    def rescan(self, *, interrupting: bool = True) -> bool:
        """Look for new devices, and say whether; whoever has a stream is interrupted and must open it again.

        Not ``interrupting``, nothing is done while something is open. Raises DeviceError where the sound system does
        not start anew; it can be tried again.
        """
        with self._lock:
            if self._open and not interrupting:
                return False
            for interrupt in tuple(self._open):
                interrupt()
            self._open.clear()
            with contextlib.suppress(self._backend.PortAudioError):  # it did not start the last time
                self._backend._terminate()  # sounddevice has no other name for it
            try:
                self._backend._initialize()
            except self._backend.PortAudioError as error:
                raise _unanswered(error) from error
            return True


def _unanswered(error: Exception) -> DeviceError:
    return DeviceError(f"The sound system does not answer ({error}); restart it, or use --headless.")


def devices(backend: Any = None) -> list[Device]:  # noqa: ANN401
    """Every sound device of the machine, in PortAudio's order. Raises DeviceError."""
    backend = backend or load_portaudio()
    try:
        found, hosts = list(backend.query_devices()), list(backend.query_hostapis())
        default_input, default_output = backend.default.device
    except backend.PortAudioError as error:
        raise _unanswered(error) from error
    return [
        Device(
            index=index,
            name=str(entry["name"]),
            host=str(hosts[entry["hostapi"]]["name"]),
            inputs=int(entry["max_input_channels"]),
            outputs=int(entry["max_output_channels"]),
            rate=float(entry["default_samplerate"]) or _USUAL_RATE,  # some drivers say 0
            default_input=index == _default(default_input, hosts, "default_input_device"),
            default_output=index == _default(default_output, hosts, "default_output_device"),
        )
        for index, entry in enumerate(found)
    ]


def _default(chosen: int, hosts: list[Any], key: str) -> int:
    """What PortAudio takes by itself: its choice, else that of the first sound system that has one."""
    if chosen >= 0:
        return chosen
    return next((host[key] for host in hosts if host[key] >= 0), -1)


def find_device(name: str | None, direction: Direction, backend: Any = None) -> Device:  # noqa: ANN401
    """The device called ``name``: a number, a full name or a unique part of one; None is the system's choice.

    Raises DeviceError naming the devices there are.
    """
    usable = [device for device in devices(backend) if device.channels(direction) > 0]
    spoken = _SPOKEN[direction]
    if not usable:
        raise DeviceError(
            f"No {spoken} was found; plug one in and look with --list-devices, or use "
            f"{'--question FILE.wav or --text' if direction == 'input' else '--headless'}."
        )
    if name is None:
        return next((device for device in usable if device.is_default(direction)), usable[0])
    matches = _matching(name, usable)
    if not matches:
        raise DeviceError(
            f"There is no {spoken} {name!r}, only {_enumerate(usable)}; choose one with {_OPTION[direction]}, "
            "--list-devices shows them all."
        )
    if len(matches) > 1:
        raise DeviceError(
            f"More than one {spoken} is called {name!r}: {_enumerate(matches)}; give its number to "
            f"{_OPTION[direction]}."
        )
    return matches[0]


def _matching(name: str, usable: list[Device]) -> list[Device]:
    if name.strip().isdigit():
        return [device for device in usable if device.index == int(name)]
    wanted = name.strip().casefold()
    exact = [device for device in usable if device.name.casefold() == wanted]
    found = exact or [device for device in usable if wanted in device.name.casefold()]
    if len({device.name for device in found}) == 1:
        # Windows lists the same device once for each of its sound systems: the default system's entry is meant.
        host = next((device.host for device in usable if device.default_input or device.default_output), "")
        return [device for device in found if device.host == host][:1] or found[:1]
    return found


def _enumerate(some: list[Device]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in some)


def list_devices(backend: Any = None) -> str:  # noqa: ANN401
    """The table of ``--list-devices``: all devices with their numbers, the defaults marked. Raises DeviceError."""
    found = devices(backend)
    if not found:
        return "No sound devices were found."
    width = max(len(device.name) for device in found)
    host = max(len(device.host) for device in found)
    rows = [f"  {'no':>3}  {'name':<{width}}  {'system':<{host}}  {'in':>3} {'out':>3}  {'Hz':>6}  default"]
    for device in found:
        default = [_SPOKEN[d] for d in ("input", "output") if device.is_default(d)]
        rows.append(
            f"{'>' if default else ' '} {device.index:>3}  {device.name:<{width}}  {device.host:<{host}}  "
            f"{device.inputs:>3} {device.outputs:>3}  {device.rate:>6.0f}  {', '.join(default)}".rstrip()
        )
    return "\n".join(rows)
