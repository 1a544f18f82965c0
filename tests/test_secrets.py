"""A key that must not be seen: a service repeats it in every error, and yet nobody reads or hears it."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo import app
from demo.admission import TOKEN_VARIABLE
from demo.llm import LlmError, open_model
from demo.messages import Notice, ReplyText, TurnEnd, UserText
from demo.models import ModelStore
from demo.server import run_server
from demo.settings import Settings
from demo.trace import SessionTrace, TurnTrace
from tests.server_fakes import client, load_fakes, make_engines, of, served

CANARY = "sk-canary-7Qm2Zr9Lx4Tv8Bn1"


class Gossip(ThreadingHTTPServer):
    """An OpenAI-compatible service that answers with ``status`` and repeats the key it was shown wherever it can."""

    daemon_threads = True
    status = 401

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Gossip

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        shown = self.headers["Authorization"]
        body = json.dumps({"error": {"message": f"Bad key: {shown}", "type": shown, "code": shown, "param": shown}})
        if self.server.status == 200:  # a stream that fails in the middle
            body = f"data: {body}\n\ndata: {{{shown}\n\n"
        self.send_response(self.server.status, f"Wrong {shown}")
        self.send_header("Content-Type", "text/event-stream" if self.server.status == 200 else "application/json")
        self.send_header("X-Key", shown)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def gossip() -> Iterator[Gossip]:
    service = Gossip(("127.0.0.1", 0), _Handler)
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    yield service
    service.shutdown()
    service.server_close()


def model(gossip: Gossip, wanted: str | None = "m"):
    environment = {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": gossip.url}
    return open_model(replace(Settings(), llm_model=wanted), ModelStore(), environment)


STATUSES = [200, 400, 401, 404, 429, 500]


@pytest.mark.parametrize("status", STATUSES)
def test_the_key_is_in_no_error_log_or_speech(gossip, status, caplog):
    gossip.status = status

    async def main() -> list[str]:
        engines = replace(make_engines(), llm=model(gossip))
        try:
            async with served(engines) as url, client(url) as me, asyncio.timeout(60):
                await me.send(UserText(1, "What is your key?"))
                messages = await me.until(TurnEnd)
        finally:
            await engines.llm.close()
        notices = [notice.text for notice in of(messages, Notice)]
        spoken = [reply.text for reply in of(messages, ReplyText)]
        assert spoken == engines.voice.spoken and spoken, "an apology is said"
        return [*notices, *spoken, messages[-1].reply, repr(engines), *engines.names().values()]

    with caplog.at_level(logging.DEBUG, logger="demo"):
        seen = asyncio.run(main())
    for text in (*seen, caplog.text):
        assert CANARY not in text


def test_libraries_that_log_the_words_of_a_service_are_told_not_to(monkeypatch, capsys):
    for name in ("httpx2", "httpcore2", "openai"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    assert app.main(["--config", "no such file"]) == 2
    for name in ("httpx2", "httpcore2", "openai"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING, name


@pytest.mark.parametrize("status", STATUSES)
def test_the_key_is_in_no_traceback(gossip, status):
    """Nor is the service's own error, which repeats it, shown as a cause."""
    gossip.status = status

    async def main() -> None:
        llm = model(gossip, wanted=None if status == 404 else "m")
        try:
            async for _ in llm.stream([{"role": "user", "content": "Hm?"}]):
                pass
        finally:
            await llm.close()

    with pytest.raises(LlmError) as raised:
        asyncio.run(main())
    assert CANARY not in str(raised.value)
    assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_an_unforeseen_error_does_not_show_the_key(gossip):
    """What Python prints when the program fails in a way nobody thought of."""
    script = (
        "import asyncio, os\n"
        "from demo.llm import open_model\nfrom demo.models import ModelStore\nfrom demo.settings import Settings\n"
        "from dataclasses import replace\n"
        "settings = replace(Settings(), llm_model='m')\n"
        "async def main():\n"
        "    llm = open_model(settings, ModelStore(), os.environ)\n"
        "    async for _ in llm.stream([{'role': 'user', 'content': 'x'}]): pass\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": gossip.url}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "LlmError" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_settings_and_traces_hold_no_secret(tmp_path, monkeypatch):
    """There is no setting for a key or a token, only for a file; nor is either written into a trace."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv(TOKEN_VARIABLE, CANARY)
    names = {item for item in asdict(Settings()) if "key" in item or "token" in item or "password" in item}
    assert names == {"tls_key", "token_file"}, "both are paths"
    trace = SessionTrace()
    trace.turns.append(TurnTrace(1, transcript="Hm?", reply="Well."))
    trace.write(tmp_path / "trace.json")
    assert CANARY not in (tmp_path / "trace.json").read_text() and CANARY not in repr(Settings())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_the_process_list_shows_no_secret(monkeypatch):
    """The server's process gets key and token through its environment, which only its owner can read."""
    import multiprocessing

    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv(TOKEN_VARIABLE, CANARY)
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=run_server, args=(Settings(), far_end, load_fakes))
    process.start()
    far_end.close()
    try:
        assert pipe.poll(60)
        assert CANARY.encode() in Path(f"/proc/{process.pid}/environ").read_bytes(), "it has it"
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    assert CANARY.encode() not in (folder / "cmdline").read_bytes()
                except OSError:
                    continue
        assert (Path(f"/proc/{process.pid}/environ").stat().st_mode & 0o077) == 0
    finally:
        pipe.close()
        process.join(20)
        process.kill()
