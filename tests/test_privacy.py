"""The whole program, watched: it works without a network, calls nobody where there is one, leaves nothing behind."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.models import ModelStore, default_cache
from demo.settings import ASSETS, Settings
from tests.conftest import missing

REPOSITORY = Path(__file__).resolve().parent.parent
RECORDING = ASSETS / "questions" / "2_capital_of_france.wav"
PHRASE = "capital of france"
FOLDERS = ("home", "temporary", "current")
OF_THE_DRIVER = ("home/.cache/mesa_shader_cache", "home/.cache/radv_builtin_shaders")

# Runs first in every Python process of the program, and writes down whom it calls and what it opens to write.
WATCHER = """
import json, os, socket, sys
_report = os.open(os.environ["WATCHER_REPORT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        seen = [event, arguments[0].family.name, str(arguments[1][0] if arguments[0].family != socket.AF_UNIX else "")]
    elif event == "socket.getaddrinfo":
        seen = [event, "", str(arguments[0])]
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        seen = [event, "", str(arguments[0])]
    else:
        return
    os.write(_report, (json.dumps([os.getpid(), *seen]) + "\\n").encode())
sys.addaudithook(_watch)
"""


@dataclass(frozen=True)
class Run:
    """What the program did."""

    said: str  # on standard error
    events: list[tuple[int, str, str, str]]  # process, event, family of addresses, address or path
    folder: Path  # with FOLDERS in it
    turn: dict

    def all_of(self, *events: str) -> list[tuple[int, str, str, str]]:
        return [each for each in self.events if each[1] in events]


def watched(folder: Path, options: Sequence[object], before: Sequence[str] = ()) -> Run:
    """Run the demo without a window; ``before`` is the command that starts Python."""
    for name in ("home", "temporary", "current", "watcher"):
        (folder / name).mkdir()
    (folder / "watcher" / "sitecustomize.py").write_text(WATCHER)
    foreign = ("OPENAI_", "XDG_", "PYTHON", "ORT_")
    known = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment = known | {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "STREAMINGTALKER_CACHE": str(default_cache()),
        "WATCHER_REPORT": str(folder / "report"),
        "PYTHONPATH": str(folder / "watcher"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = [sys.executable, REPOSITORY / "run_demo.py", "--headless", "--size", 64, "--trace", folder / "trace.json"]
    command = [*before, *map(str, [*program, *options])]
    done = subprocess.run(
        command, cwd=folder / "current", env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events = [tuple(json.loads(line)) for line in (folder / "report").read_text().splitlines()]
    return Run(done.stderr, events, folder, json.loads((folder / "trace.json").read_text())["turns"][0])


def need(*models: str) -> None:
    if not Settings().talker.is_file():
        missing(f"{Settings().talker} is missing")
    for model in models:
        if not ModelStore().has(model):
            missing(f"the model {model} is missing; run 'python -m demo.models'")


@pytest.fixture(scope="module")
def visit(tmp_path_factory) -> Run:
    """Somebody asks aloud; the language model answers."""
    need("smollm2-135m", "whisper-tiny-en")
    if shutil.which("strace") is None:
        missing("strace sees what libraries do that are not written in Python")
    folder = tmp_path_factory.mktemp("visit")
    calls = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-o",
        folder / "calls",
    ]
    return watched(folder, ["--question", RECORDING], list(map(str, calls)))


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address in ("localhost", "None")


def test_no_connection_leaves_this_machine(visit):
    """In neither process: nothing online was chosen."""
    connections = visit.all_of("socket.connect", "socket.sendto")
    abroad = [each for each in connections if each[2] in ("AF_INET", "AF_INET6") and not is_loopback(each[3])]
    assert abroad == []
    assert [each for each in visit.all_of("socket.getaddrinfo") if not is_loopback(each[3])] == [], "nor is asked for"
    assert len({each[0] for each in connections}) >= 2, "client and server were both watched"


def test_nor_does_one_from_a_library_that_python_does_not_see(visit):
    """Some report to their makers, from threads of their own. A name that is looked up counts as well."""
    calls = (visit.folder / "calls").read_text().splitlines()
    called = [
        each for call in calls for each in re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', call)
    ]
    assert called, "the embedded language model was called"
    assert [each for each in called if not is_loopback("".join(each))] == []


def test_onnxruntime_is_told_not_to_report_before_it_is_imported():
    script = "import streamingtalker, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"]


def test_nothing_of_the_visitor_stays_on_disk(visit):
    assert PHRASE in visit.turn["transcript"].lower(), "the trace, which was asked for, has it"
    said = (PHRASE, visit.turn["transcript"])
    needles = [text.encode(code) for text in said for code in ("utf-8", "utf-16-le")]
    for name in FOLDERS:
        for path in (visit.folder / name).rglob("*"):
            assert not path.is_file() or not any(needle in path.read_bytes() for needle in needles), path
    kept = [path.relative_to(visit.folder).as_posix() for name in FOLDERS for path in (visit.folder / name).rglob("*")]
    new = [path for path in kept if not path.startswith(OF_THE_DRIVER) and path != "home/.cache"]
    assert new == [], "no file of ours stays, whatever is in it"


def test_nothing_is_written_elsewhere(visit):
    """Whatever is opened for writing lies in the temporary folder, or is the trace that was asked for."""
    paths = [path for _, _, _, path in visit.all_of("open")]
    allowed = (
        str(visit.folder / "temporary"),
        str(visit.folder / "home"),
        str(visit.folder / "trace.json"),
        "/dev/",
        "/proc/",
    )
    assert [path for path in paths if not path.startswith(allowed) and not path.isdecimal()] == []


def test_a_turn_works_without_any_route(tmp_path):
    """In a network of its own, of which only the loopback exists: heard, thought, spoken and shown."""
    need("smollm2-135m", "whisper-tiny-en")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        missing("unshare and ip make a network without a route")
    alone = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        missing("this machine lets nobody make a network of their own")
    routes = subprocess.run([*alone, "ip", "route", "show", "default"], capture_output=True, text=True, check=True)
    assert routes.stdout == ""
    run = watched(tmp_path, ["--question", RECORDING], alone)
    assert PHRASE in run.turn["transcript"].lower() and run.turn["reply"]
    assert run.turn["frames_generated"] >= 29 * run.turn["audio_seconds"] > 0
