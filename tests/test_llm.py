"""Language models: the real client against a service that misbehaves in every way, and the embedded llama.cpp."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import openai
import pytest

from demo.llm import (
    BROKEN_OFF,
    EMBEDDED_MODEL,
    EmbeddedLlama,
    EmbeddedModel,
    LlmBrokenOffError,
    LlmError,
    LlmSlowError,
    OpenAiModel,
    ReplyTooLongError,
    Sampling,
    open_model,
    small_model_sampling,
)
from demo.models import ModelError, ModelStore
from demo.persona import ChatMessage, load_persona
from demo.settings import Settings, SettingsError
from tests.conftest import missing

QUESTION: list[ChatMessage] = [{"role": "user", "content": "Who are you?"}]


def chunk(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    body["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Service(ThreadingHTTPServer):
    """An OpenAI-compatible service on loopback that answers with ``status`` and ``parts``; a float waits."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.parts: list[bytes | float] = [chunk("Hel"), chunk("lo."), chunk(None, "stop"), DONE]
        self.models = ["first", "second"]
        self.requests: list[dict] = []
        self.cut = False  # whether the connection is closed in the middle of a chunk
        self.leave = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})
        self._head(200, "application/json", len(body))
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.status != 200:
            body = b'{"error": {"message": "no"}}'
            self._head(self.server.status, "application/json", len(body))
            self.wfile.write(body)
            return
        self._head(200, "text/event-stream", None)
        with contextlib.suppress(OSError):
            for part in self.server.parts:
                if isinstance(part, float):
                    self.server.leave.wait(part)
                else:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"40\r\nhalf a chu" if self.server.cut else b"0\r\n\r\n")
        self.close_connection = True

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.leave.set()
    server.shutdown()
    server.server_close()


def ask(url: str, model: str | None = "m", **sampling: float) -> tuple[list[str], Exception | None]:
    """The pieces of the answer, and how it ended."""

    async def main() -> tuple[list[str], Exception | None]:
        client = openai.AsyncOpenAI(base_url=url, api_key="secret-key", max_retries=0)
        llm = OpenAiModel(client, model, "test service", Sampling(**sampling))
        pieces: list[str] = []
        try:
            async for piece in llm.stream(QUESTION):
                pieces.append(piece)
        except (LlmError, ReplyTooLongError) as error:
            return pieces, error
        finally:
            await llm.close()
        return pieces, None

    return asyncio.run(main())


def test_an_answer_comes_in_pieces(service):
    assert ask(service.url) == (["Hel", "lo."], None)
    (request,) = service.requests
    assert request["model"] == "m" and request["messages"] == QUESTION and request["stream"] is True
    assert set(request) == {"model", "messages", "stream"}, "services differ in what else they take"


def test_the_first_model_offered_is_taken_where_none_is_named(service):
    assert ask(service.url, model=None)[1] is None
    assert service.requests[0]["model"] == "first"
    service.models = []
    assert "offers no model" in str(ask(service.url, model=None)[1])


def test_an_empty_answer_is_no_error(service):
    service.parts = [chunk(""), chunk(None, "stop"), DONE]
    assert ask(service.url) == ([], None)


def test_a_length_limit_is_told(service):
    service.parts = [chunk("One. Tw"), chunk(None, "length"), DONE]
    pieces, error = ask(service.url)
    assert pieces == ["One. Tw"] and isinstance(error, ReplyTooLongError)


@pytest.mark.parametrize(
    "status, wrong",
    [
        (401, "refused the key; check OPENAI_API_KEY"),
        (403, "refused the key"),
        (404, "does not know the model 'm'; choose one with --llm-model"),
        (429, "rate limit or quota"),
        (500, "HTTP status 500"),
        (503, "HTTP status 503"),
    ],
)
def test_a_refusal_is_one_clear_sentence(service, status, wrong):
    service.status = status
    pieces, error = ask(service.url)
    assert pieces == [] and isinstance(error, LlmError) and not isinstance(error, LlmBrokenOffError)
    assert wrong in str(error) and "secret-key" not in str(error)
    assert len(service.requests) == 1


def test_an_unreachable_service(service):
    service.shutdown()
    service.server_close()
    assert "cannot be reached; start it or check OPENAI_BASE_URL" in str(ask(service.url)[1])


def test_a_first_token_that_is_late(service):
    service.parts = [5.0, chunk("late")]
    start = time.monotonic()
    pieces, error = ask(service.url, first_token_seconds=0.3)
    assert pieces == [] and isinstance(error, LlmSlowError) and "within 0.3 s" in str(error)
    assert time.monotonic() - start < 4.5


def test_a_stream_that_stops_in_the_middle(service):
    service.parts = [chunk("Well, "), 5.0, chunk("late")]
    pieces, error = ask(service.url, next_token_seconds=0.3)
    assert pieces == ["Well, "] and isinstance(error, LlmBrokenOffError)


@pytest.mark.parametrize("cut", [True, False], ids=["connection cut", "ended early"])
def test_a_stream_that_breaks_off(service, cut):
    service.parts, service.cut = [chunk("Well, "), chunk("you")], cut
    pieces, error = ask(service.url)
    assert pieces == ["Well, ", "you"] and isinstance(error, LlmBrokenOffError)


@pytest.mark.parametrize("garbage", [b"data: {no json\n\n", b"data: []\n\n", b'data: {"error": {"message": "x"}}\n\n'])
@pytest.mark.parametrize("begun", [True, False])
def test_garbage_in_the_stream(service, garbage, begun):
    service.parts = [chunk("Well, "), garbage] if begun else [garbage]
    _, error = ask(service.url)
    assert isinstance(error, LlmBrokenOffError if begun else LlmError)


def test_what_is_no_stream_at_all(service):
    service.parts = [b"<html>captive portal</html>"]
    assert isinstance(ask(service.url)[1], LlmError)


def test_leaving_early_closes_the_connection(service):
    async def main() -> None:
        client = openai.AsyncOpenAI(base_url=service.url, api_key="k", max_retries=0)
        llm = OpenAiModel(client, "m", "test service", Sampling())
        async with contextlib.aclosing(llm.stream(QUESTION)) as pieces:
            assert await anext(pieces) == "Hel"
        await llm.close()

    asyncio.run(main())


def test_the_environment_chooses_the_service(service):
    async def main() -> None:
        environment = {"OPENAI_BASE_URL": service.url}
        llm = open_model(Settings(), ModelStore(Path("unused")), environment)
        assert llm.name == "language model service at 127.0.0.1"
        await llm.warm_up([])
        assert llm.name.endswith(": first")
        named = open_model(replace(Settings(), llm_model="second"), ModelStore(Path("unused")), environment)
        await named.warm_up([])
        assert [request["model"] for request in service.requests] == ["first", "second"]
        keyed = open_model(Settings(), ModelStore(Path("unused")), {"OPENAI_API_KEY": "k"})
        assert keyed.name.startswith("OpenAI service")
        for model in (llm, named, keyed):
            await model.close()

    asyncio.run(main())


def test_a_model_name_without_a_service_is_an_error():
    with pytest.raises(SettingsError, match="--llm-model gpt-9 needs a service: set OPENAI_API_KEY"):
        open_model(replace(Settings(), llm_model="gpt-9"), ModelStore(Path("unused")), {})


def test_a_missing_or_damaged_model_file(tmp_path):
    with pytest.raises(LlmError, match="does not exist"):
        open_model(replace(Settings(), llm_model=str(tmp_path / "none.gguf")), ModelStore(tmp_path), {})
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(LlmError, match=r"bad\.gguf cannot be loaded"):
        open_model(replace(Settings(), llm_model=str(tmp_path / "bad.gguf")), ModelStore(tmp_path), {})


# --- the real embedded model -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf() -> Path:
    try:
        return ModelStore().path(EMBEDDED_MODEL)
    except ModelError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def llama(gguf) -> Iterator[EmbeddedLlama]:
    server = EmbeddedLlama(gguf, 1)
    yield server
    server.close()


def ask_embedded(llama: EmbeddedLlama, *questions: str) -> list[str]:
    async def main() -> list[str]:
        llm = EmbeddedModel(llama, "smollm2", small_model_sampling(0))
        opening = load_persona(Settings().persona).opening()
        await llm.warm_up(opening)
        answers = []
        for question in questions:
            pieces = []
            with contextlib.suppress(ReplyTooLongError):
                async for piece in llm.stream([*opening, {"role": "user", "content": question}]):
                    pieces.append(piece)
            answers.append("".join(pieces))
        await OpenAiModel.close(llm)
        return answers

    return asyncio.run(main())


def test_the_embedded_model_answers_sensibly(llama):
    capital, name = ask_embedded(llama, "What is the capital of France?", "Who are you?")
    assert "Paris" in capital
    assert "Maya" in name


def test_the_embedded_model_outlives_its_servers_keep_alive_limit(llama):
    assert len(ask_embedded(llama, *["Say yes."] * 3)) == 3


INTERRUPTED: list[ChatMessage] = [
    {"role": "user", "content": "Do you dream?"},
    {"role": "assistant", "content": "I'm not" + BROKEN_OFF},
]
WHOLE: list[ChatMessage] = [
    {"role": "user", "content": "How old are you?"},
    {"role": "assistant", "content": "I have no age."},
]


def test_a_small_model_is_not_shown_what_it_would_imitate(service):
    def read(make: Callable[[SimpleNamespace], OpenAiModel]) -> list[ChatMessage]:
        async def main() -> None:
            llm = make(SimpleNamespace(base_url=service.url, key="k"))
            assert "".join([piece async for piece in llm.stream([*WHOLE, *INTERRUPTED, *QUESTION])]) == "Hello."
            await OpenAiModel.close(llm)

        asyncio.run(main())
        return service.requests[-1]["messages"]

    def large(llama: SimpleNamespace) -> OpenAiModel:
        client = openai.AsyncOpenAI(base_url=llama.base_url, api_key=llama.key)
        return OpenAiModel(client, "large", "service", Sampling())

    small = read(lambda llama: EmbeddedModel(cast(EmbeddedLlama, llama), "small", Sampling()))
    assert small == [*WHOLE, *QUESTION]
    assert read(large) == [*WHOLE, *INTERRUPTED, *QUESTION]


def test_the_embedded_server_answers_only_who_knows_its_key(llama):
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=llama.base_url, api_key="other", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])

    assert llama.base_url.startswith("http://127.0.0.1:")
    asyncio.run(main())


def test_the_embedded_server_leaves_the_cores_alone_while_idle(llama):
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.3  # a request before this may still be ending
