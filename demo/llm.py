"""Language models: always the ``openai`` client, whether the service is on the internet or inside this process."""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletionChunk

from demo.models import ModelStore
from demo.persona import ChatMessage
from demo.settings import Settings, SettingsError
from demo.threads import make_later
from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

EMBEDDED_MODEL = "smollm2-135m"
CONTEXT_TOKENS = 2048
BROKEN_OFF = " —"  # ends an answer of the past in the middle of which the avatar was interrupted

_LOADING_SECONDS = 20.0  # a service on this machine may load its model when it is first asked
_ANY_QUESTION: ChatMessage = {"role": "user", "content": "Hello."}


class LlmError(UserError):
    """The language model gave no whole answer. The message is for the operator; the avatar apologises."""


class LlmSlowError(LlmError):
    """The next token did not come in time."""


class LlmBrokenOffError(LlmError):
    """The answer ended before its end."""


class ReplyTooLongError(Exception):
    """The answer reached its length limit: what came ends somewhere, perhaps in the middle of a sentence."""


class LanguageModel(Protocol):
    """What a conversation needs of a language model."""

    name: str
    history_characters: int  # how much of a conversation it can make use of

    def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        """The answer in pieces. Raises LlmError where it fails, ReplyTooLongError where it was cut."""
        ...

    async def warm_up(self, messages: Sequence[ChatMessage]) -> None:
        """Prepare for conversations that begin with ``messages``. Raises LlmError."""
        ...

    async def foresee(self, messages: Sequence[ChatMessage]) -> None:
        """A question after ``messages`` may come: use the time until then, or do nothing. Never raises LlmError."""
        ...

    async def close(self) -> None:
        """Give back what is held."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn and how long they are waited for."""

    first_token_seconds: float = 3.5  # within four seconds the avatar says something
    next_token_seconds: float = 3.5
    request: tuple[tuple[str, Any], ...] = ()  # fields of the request; services differ in what they take, so none


class OpenAiModel:
    """Any service that speaks OpenAI's chat interface. ``model`` None takes the first it offers."""

    history_characters = 6_000

    def __init__(self, client: openai.AsyncOpenAI, model: str | None, label: str, sampling: Sampling) -> None:
        self.name = f"{label}: {model}" if model else label
        self._client = client
        self._model = model
        self._label = label
        self._sampling = sampling

    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[str]:
        """The answer in pieces; see LanguageModel."""
        async with contextlib.aclosing(self._in_time(messages, self._sampling.first_token_seconds)) as pieces:
            async for piece in pieces:
                yield piece

    async def _in_time(self, messages: Sequence[ChatMessage], patience: float) -> AsyncGenerator[str]:
        pieces = self._pieces(messages, {})
        begun = False
        async with contextlib.aclosing(pieces):
            while True:
                try:
                    async with asyncio.timeout(patience):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    raise self._too_slow(begun, patience) from None
                if piece is None:
                    return
                yield piece
                begun, patience = True, self._sampling.next_token_seconds

    async def warm_up(self, messages: Sequence[ChatMessage]) -> None:
        """Ask for the first word of an answer: shows whether the service works, makes a local one load its model."""
        with contextlib.suppress(ReplyTooLongError):
            asked = self._in_time([*messages, _ANY_QUESTION], _LOADING_SECONDS)
            async with contextlib.aclosing(asked) as pieces:
                await anext(pieces, None)

    async def foresee(self, messages: Sequence[ChatMessage]) -> None:
        """Nothing: a service charges for every request."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _pieces(self, messages: Sequence[ChatMessage], request: dict[str, Any]) -> AsyncGenerator[str]:
        begun = finished = False
        try:
            stream: openai.AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
                model=await self._chosen(),
                messages=cast(Any, messages),
                stream=True,
                extra_body=dict(self._sampling.request) | request,
            )
            async with stream:
                async for chunk in stream:
                    for choice in chunk.choices[:1]:
                        if choice.delta.content:
                            begun = True
                            yield choice.delta.content
                        if choice.finish_reason == "length":
                            raise ReplyTooLongError
                        finished = finished or choice.finish_reason is not None
        except (LlmError, ReplyTooLongError):
            raise
        except Exception as error:  # the client's own, its HTTP library's, and whatever a broken answer makes it raise
            raise self._explained(error, begun) from None  # a service may repeat the key in its words
        if not finished:
            raise LlmBrokenOffError(f"The answer of the {self._label} broke off; check its log.")

    async def _chosen(self) -> str:
        if self._model is None:
            offered = [model.id async for model in await self._client.models.list()]
            if not offered:
                raise LlmError(f"The {self._label} offers no model; load one or name it with --llm-model.")
            self._model = offered[0]
            self.name = f"{self._label}: {self._model}"
        return self._model

    def _too_slow(self, begun: bool, seconds: float) -> LlmError:
        if begun:
            return LlmBrokenOffError(f"The {self._label} stopped in the middle of an answer; check its log.")
        return LlmSlowError(
            f"The {self._label} did not begin to answer within {seconds:g} s; choose a smaller model with --llm-model."
        )

    def _explained(self, error: Exception, begun: bool) -> LlmError:
        where = self._label
        if begun:
            return LlmBrokenOffError(f"The answer of the {where} broke off ({type(error).__name__}); check its log.")
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return LlmError(f"The {where} refused the key; check OPENAI_API_KEY.")
            case openai.NotFoundError():
                return LlmError(f"The {where} does not know the model {self._model!r}; choose one with --llm-model.")
            case openai.RateLimitError():
                return LlmError(f"The {where} is over its rate limit or quota; wait or use another key.")
            case openai.APITimeoutError():
                return LlmSlowError(f"The {where} did not answer in time; check the network or use a smaller model.")
            case openai.APIConnectionError():
                return LlmError(f"The {where} cannot be reached; start it or check OPENAI_BASE_URL.")
            case openai.APIStatusError():
                return LlmError(f"The {where} answered with HTTP status {error.status_code}; check its log.")
        return LlmError(f"The {where} gave no usable answer ({type(error).__name__}); check OPENAI_BASE_URL.")


class EmbeddedLlama:
    """llama.cpp inside this process, serving OpenAI's interface on a free loopback port to this process alone."""

    def __init__(self, model: Path, threads: int) -> None:
        """Load ``model`` (GGUF) and serve it. Raises LlmError where it cannot be loaded."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx = CONTEXT_TOKENS
        params.n_gpu_layers = 0
        params.n_parallel = 1
        params.n_batch = params.n_ubatch = 128  # a request that is given up is noticed between batches
        params.n_cache_reuse = 32  # what is left of a shortened history need not be read again
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.n_threads_http = 2
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = max(threads, min(2, os.cpu_count() or 1))  # nobody else works while it reads
        params.cpuparams.poll = params.cpuparams_batch.poll = 0  # waiting threads sleep: the cores belong to others too
        params.cache_ram_mib = 0  # no copies of what was read: all prompts begin alike, and the rest is soon read anew
        params.ui = params.endpoint_slots = False
        params.verbosity = -1
        self.key = secrets.token_urlsafe(24)  # nobody else on this machine is to use it
        params.api_keys = [self.key]
        try:
            self._server = make_later(lambda: xllamacpp.Server(params))  # it goes on writing as the face begins
        except RuntimeError as error:
            raise LlmError(
                f"{model} cannot be loaded ({error}); run 'python -m demo.models' to fetch it anew."
            ) from error
        self.base_url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Stop serving and free the model."""
        del self._server


class EmbeddedModel(OpenAiModel):
    """An OpenAiModel that owns the llama.cpp it talks to."""

    history_characters = 300  # the last turn or two: more takes long to read, and small models repeat what they read

    def __init__(self, llama: EmbeddedLlama, name: str, sampling: Sampling) -> None:
        client = openai.AsyncOpenAI(
            base_url=llama.base_url,
            api_key=llama.key,
            max_retries=0,
            default_headers={"Connection": "close"},  # its server drops a kept connection after some requests
        )
        super().__init__(client, name, "embedded llama.cpp", sampling)
        self._llama = llama

    def _pieces(self, messages: Sequence[ChatMessage], request: dict[str, Any]) -> AsyncGenerator[str]:
        return super()._pieces(_without_broken_off(messages), request)

    async def warm_up(self, messages: Sequence[ChatMessage]) -> None:
        """Read ``messages`` into the prompt cache."""
        with contextlib.suppress(ReplyTooLongError):
            async for _ in self._pieces([*messages, _ANY_QUESTION], {"max_tokens": 1}):
                pass

    async def foresee(self, messages: Sequence[ChatMessage]) -> None:
        """Read ``messages`` into the prompt cache, so that only the question is left to be read."""
        try:
            await self.warm_up(messages)
        except LlmError as error:
            log.warning("%s", error)

    async def close(self) -> None:
        """Close the connections and stop the server."""
        await super().close()
        await asyncio.to_thread(self._llama.close)


def _without_broken_off(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """``messages`` without the turns whose answer was interrupted: after "I am —" small models answer "I am —"."""
    kept: list[ChatMessage] = []
    for message in messages:
        if message["role"] == "assistant" and message["content"].endswith(BROKEN_OFF):
            kept.pop()  # its question
        else:
            kept.append(message)
    return kept


def open_model(settings: Settings, store: ModelStore, environment: Mapping[str, str]) -> LanguageModel:
    """The language model that ``settings`` and ``environment`` choose. Blocks while an embedded one loads.

    Raises SettingsError, ModelError or LlmError where that cannot be had.
    """
    key, url, wanted = environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL"), settings.llm_model
    if wanted and wanted.endswith(".gguf"):
        return _embedded(Path(wanted).expanduser(), settings)
    if key or url:
        client = openai.AsyncOpenAI(api_key=key or "none", base_url=url or None, max_retries=1)
        label = f"language model service at {urlsplit(url).hostname or url}" if url else "OpenAI service"
        return OpenAiModel(client, wanted or (None if url else "gpt-4o-mini"), label, Sampling())
    if wanted:
        raise SettingsError(
            f"--llm-model {wanted} needs a service: set OPENAI_API_KEY or OPENAI_BASE_URL, or give a .gguf file."
        )
    return _embedded(store.fetch(EMBEDDED_MODEL), settings)


def _embedded(model: Path, settings: Settings) -> EmbeddedModel:
    if not model.is_file():
        raise LlmError(f"{model} does not exist; check --llm-model.")
    return EmbeddedModel(EmbeddedLlama(model, settings.threads), model.stem, small_model_sampling(settings.seed))


def small_model_sampling(seed: int) -> Sampling:
    """Short, sober answers. Small models repeat themselves; the dry penalty falls on repeated runs of tokens."""
    against_loops = (("dry_multiplier", 0.8), ("dry_allowed_length", 3), ("dry_penalty_last_n", 80))
    return Sampling(8.0, 8.0, request=(("temperature", 0.2), ("max_tokens", 80), ("seed", seed), *against_loops))
