"""What is on this machine and what is not: model files, network, language model, disk, memory."""

import asyncio
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from demo.doctor.findings import Finding, Level
from demo.models import ModelError, ModelStore, reachable
from demo.persona import load_persona
from demo.settings import ASSETS, Settings

CHECKSUMS = ASSETS / "sha256sums"  # of the weights and avatars that come with the program
_GB = 1e9
_DISK_GB, _LEAST_DISK_GB = 2.0, 0.3
_MEMORY_GB, _LEAST_MEMORY_GB = 2.5, 1.3  # the program's two processes take 1.26 at most
_REACH_SECONDS = 2.5
_SLOW_SECONDS = 3.0
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Service:
    """Something on the network that a session would use."""

    part: str  # of the program
    host: str
    port: int
    instead: str  # how to do without


def check_memory(settings: Settings) -> Iterator[Finding]:
    """Memory that programs may still take."""
    free = available_memory() / _GB
    remedy = "close other programs"
    yield _judge("memory", free, f"{free:.1f} GB free", (_LEAST_MEMORY_GB, _MEMORY_GB), remedy)


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Space where models are kept and where the session is to write."""
    places = {"models": ModelStore().cache, "--record": settings.record, "--export": settings.export}
    free = {name: shutil.disk_usage(_existing(path)).free / _GB for name, path in places.items() if path}
    name = min(free, key=lambda name: free[name])
    text = f"{free[name]:.1f} GB free for {' and '.join(free)}"
    yield _judge("disk", free[name], text, (_LEAST_DISK_GB, _DISK_GB), f"free some space in {places[name]}")


def _judge(what: str, value: float, text: str, bounds: tuple[float, float], remedy: str) -> Finding:
    """``bounds``: below the first it is broken, below the second weak."""
    figures = {"free_gb": round(value, 2)}
    if value >= bounds[1]:
        return Finding(what, Level.GREEN, text, "", figures)
    return Finding(what, Level.RED if value < bounds[0] else Level.YELLOW, text, remedy, figures)


def _existing(path: Path) -> Path:
    """``path`` or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def check_models(settings: Settings) -> Iterator[Finding]:
    """Every model file's SHA-256 against its manifest, those of the program and those that were fetched."""
    yield _check_shipped(CHECKSUMS)
    store, needed = ModelStore(), needed_models(settings, os.environ)
    for name in store.models:
        if store.installed(name):
            yield _check_model(store, name)
    for choice in needed:
        if not any(store.installed(name) for name in choice):
            text = f"{' or '.join(choice)} is not on this machine"
            yield Finding("models", Level.RED, text, f"run 'python -m demo.models {choice[-1]}' while online")


def needed_models(settings: Settings, environment: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The models that a session with these settings opens; of each tuple one will do."""
    needed: list[tuple[str, ...]] = []
    if not settings.headless:
        vosk = f"vosk-{settings.lang}"
        choices = {"vosk": (vosk,), "whisper": ("whisper-tiny-en",)}
        auto = (vosk, "whisper-tiny-en") if settings.lang == "en" else (vosk,)
        needed.append(choices.get(settings.stt, auto))
    if _embeds(settings, environment):
        needed.append(("smollm2-135m",))
    return needed


def _embeds(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether the language model that comes with the program answers."""
    other = environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL") or settings.llm_model
    return settings.server is None and not other


def _check_shipped(checksums: Path) -> Finding:
    """The files that a list in the form of sha256sum names, beside it."""
    names = []
    for line in checksums.read_text("ascii").splitlines():
        digest, name = line.split()
        path = checksums.parent / name
        if not path.is_file():
            return Finding("models", Level.RED, f"{path} is missing", "restore it: git checkout assets")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                remedy = "restore it: git checkout assets; or git lfs pull"
                return Finding("models", Level.RED, f"{path} has a wrong SHA-256", remedy)
        names.append(name)
    return Finding("models", Level.GREEN, f"{len(names)} files of weights and avatars are as published")


def _check_model(store: ModelStore, name: str) -> Finding:
    try:
        count = store.verify(name)
    except ModelError as error:
        return Finding("models", Level.RED, str(error))
    return Finding("models", Level.GREEN, f"{name}: {count} files as fetched")


def check_network(settings: Settings) -> Iterator[Finding]:
    """Which parts run on this machine, and whether what the others need can be reached."""
    services = needed_services(settings, os.environ)
    local = [part for part in ("hearing", "language model", "voice", "face") if part not in {s.part for s in services}]
    offline = f"{', '.join(local)} run on this machine"
    if not services:
        yield Finding("network", Level.GREEN, f"not needed: {offline}")
    for service in services:
        where = f"the {service.part} needs {service.host}"
        if reachable(f"{service.host}:{service.port}", _REACH_SECONDS):
            yield Finding("network", Level.GREEN, f"{where}, which answers; {offline}")
        else:
            remedy = f"connect this machine, or {service.instead}"
            yield Finding("network", Level.RED, f"{where}, which cannot be reached; {offline}", remedy)


def needed_services(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    """What a session with these settings asks for on the network."""
    services = []
    if settings.server is not None:
        services.append(_service("server", settings.server, "leave out --server"))
    elif environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL"):
        url = environment.get("OPENAI_BASE_URL") or "https://api.openai.com"
        services.append(_service("language model", url, "unset OPENAI_API_KEY and OPENAI_BASE_URL"))
    if _speaks_online(settings) and settings.server is None:
        services.append(_service("voice", "https://translate.google.com", "use --tts hibari"))
    return [service for service in services if service.host not in _LOCAL]


def _speaks_online(settings: Settings) -> bool:
    """Whether the voice comes from the internet: asked for, the persona's, or the only one of that language."""
    if settings.tts != "auto":
        return settings.tts == "gtts"
    wanted = getattr(load_persona(settings.persona), "voice", None)
    return wanted == "gtts" or not (wanted or settings.lang.startswith("en"))


def _service(part: str, url: str, instead: str) -> Service:
    address = urlsplit(url)
    secure = address.scheme in ("https", "wss")
    return Service(part, address.hostname or url, address.port or (443 if secure else 80), instead)


def check_language_model(settings: Settings) -> Iterator[Finding]:
    """Whether a question is answered, and how soon. Raises UserError where it is not."""
    from demo.llm import open_model  # the client takes half a second to import

    if settings.server is not None:
        yield Finding("language model", Level.GREEN, "is the server's")
        return
    if _embeds(settings, os.environ) and not ModelStore().installed("smollm2-135m"):
        remedy = "run 'python -m demo.models' while online, or set OPENAI_BASE_URL"
        yield Finding("language model", Level.RED, "is not on this machine", remedy)
        return
    began = time.monotonic()
    model = open_model(settings, ModelStore(), os.environ)
    asyncio.run(model.warm_up([]))
    seconds = time.monotonic() - began
    slow = seconds > _SLOW_SECONDS
    remedy = "use a smaller or nearer model, see --llm-model" if slow else ""
    figures = {"first_word_s": round(seconds, 2)}
    text = f"{model.name} is there and begins to answer after {seconds:.1f} s"
    yield Finding("language model", Level.YELLOW if slow else Level.GREEN, text, remedy, figures)


def available_memory() -> float:
    """Bytes that programs may still take; on macOS the bytes there are."""
    if sys.platform == "win32":
        return _available_on_windows()
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text("ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available_on_windows() -> float:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("total", ctypes.c_ulonglong),
                    ("available", ctypes.c_ulonglong), ("rest", ctypes.c_ulonglong * 5))  # fmt: skip

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return float(status.available)
