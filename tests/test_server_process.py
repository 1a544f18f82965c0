"""The server process: where it is reached, what it loads and how, and what it says where it cannot."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from urllib.parse import urlsplit

import pytest

import demo.engines
import demo.server
from demo.readiness import Failed
from demo.server_process import reached_at, run_usual_server
from demo.settings import Settings


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "ws://127.0.0.1:"),
        ("localhost", "ws://localhost:"),
        ("0.0.0.0", "ws://127.0.0.1:"),
        ("::1", "ws://[::1]:"),
        ("::", "ws://[::1]:"),
    ],
)
def test_a_server_process_is_reached_wherever_it_listens(host, url):
    address = reached_at(host, 8765)
    assert address == url + "8765"
    assert urlsplit(address).port == 8765


def test_the_window_loads_nothing_that_only_the_server_needs():
    heavy = {"demo.server", "demo.engines", "demo.doctor", "openai", "torch", "scipy.signal", "scipy.optimize"}
    script = f"import demo.app, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.fixture
def collector() -> Iterator[None]:
    """Leaves the garbage collector as it was."""
    yield
    gc.unfreeze()
    gc.enable()


def test_while_engines_load_nobody_looks_for_garbage_and_afterwards_not_among_them(monkeypatch, collector):
    seen = []

    async def load_engines(*_):
        seen.append(("loading", gc.isenabled(), gc.get_freeze_count() > 0))
        return "engines"

    def run_server(settings, pipe, load):
        engines = asyncio.run(load(settings, print))
        seen.append((engines, gc.isenabled(), gc.get_freeze_count() > 0))

    monkeypatch.setattr(demo.engines, "load_engines", load_engines)
    monkeypatch.setattr(demo.server, "run_server", run_server)
    run_usual_server(Settings(), Pipe()[0])
    assert seen == [("loading", False, False), ("engines", True, True)]


def test_a_package_that_the_server_lacks_is_named(monkeypatch, collector):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "demo.llm")
    monkeypatch.delitem(sys.modules, "demo.engines")
    ours, its = Pipe()
    run_usual_server(Settings(), its)
    assert ours.recv() == Failed("The package 'openai' is not installed; run 'pip install -r requirements.txt'.")
