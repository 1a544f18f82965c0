"""Language model, voice and face model do what they should not: the avatar says so, and the next turn works."""

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from demo.engines import Engines
from demo.llm import OpenAiModel, Sampling
from demo.messages import FaceFrame, Notice, PcmChunk, UserText
from demo.voices import FallbackVoice
from tests.server_fakes import FPS, PERSONA, RATE, TALKATIVE, SineVoice, TinyStreamer, check_turn, make_engines, of
from tests.test_conversation import replies, talking
from tests.test_llm import DONE, Service, chunk, service  # noqa: F401 - a fixture

FALLBACK_SECONDS = 4.0
SENTENCES = ["This is the first. ", "The second is bad. ", "And here is the third."]


def sound_of(messages) -> np.ndarray:
    pcm = b"".join(chunk.pcm for chunk in of(messages, PcmChunk))
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32767


def openness_of(messages) -> np.ndarray:
    """How far the mouth is open in each frame."""
    return np.array([np.frombuffer(frame.offsets, "<f2").max() for frame in of(messages, FaceFrame)], np.float32)


# --- voice -----------------------------------------------------------------------------------------------------------


class FaultyVoice(SineVoice):
    """Does something else than to speak the sentence that is bad."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    def speak(self, text: str) -> Iterator[np.ndarray]:
        (pcm,) = super().speak(text)
        if "bad" in text:
            match self._fault:
                case "exception":
                    raise RuntimeError("onnx")
                case "empty":
                    return
                case "not a number":
                    pcm[100:] = np.nan
                case "of another kind":
                    pcm = (pcm * 32767).astype(np.int16)
                case "of another shape":
                    pcm = np.stack([pcm, pcm])
                case "wrong rate":  # forty times as many samples
                    pcm = np.repeat(pcm, 40)
                case "ten times too long":
                    pcm = np.tile(pcm, 100)
                case "silence":
                    pcm = np.zeros_like(pcm)
        yield pcm


class HesitantVoice(SineVoice):
    """Gives a piece without a sample before each sentence, and one after it."""

    def speak(self, text: str) -> Iterator[np.ndarray]:
        yield np.zeros(0, np.float32)
        yield from super().speak(text)
        yield np.zeros(0, np.float32)


@pytest.mark.timeout(20)
def test_a_piece_of_voice_without_a_sample_is_no_trouble():
    turns = replies(make_engines(SENTENCES, HesitantVoice(), TALKATIVE), "Hm?", "And now?")
    for end, messages in turns:
        assert end.reply == "".join(SENTENCES) and not of(messages, Notice)


@pytest.mark.parametrize(
    "fault",
    [
        "exception",
        "empty",
        "not a number",
        "of another kind",
        "of another shape",
        "wrong rate",
        "ten times too long",
        "silence",
    ],
)
def test_a_sentence_that_the_voice_cannot_speak_is_skipped_with_an_apology(fault, measured):
    began = time.monotonic()
    turns = replies(make_engines(SENTENCES, FaultyVoice(fault), TALKATIVE), "Hm?", "And now?")
    measured("both answers made", time.monotonic() - began)
    for end, messages in turns:  # the second turn is like the first
        assert end.reply.startswith("This is the first.") and end.reply.endswith("And here is the third.")
        assert end.reply.count(PERSONA.phrases.broken_off) == 1
        (notice,) = of(messages, Notice)
        assert "The voice sine" in notice.text
        assert end.samples / RATE < 14
        check_mouth(messages)


def check_mouth(messages) -> None:
    """The mouth moves only while there is sound."""
    sound, step = sound_of(messages), RATE / FPS
    for index, open_by in enumerate(openness_of(messages)):
        around = sound[max(0, int((index - 3) * step)) : int((index + 4) * step)]
        assert open_by < 0.01 or np.abs(around).max() > 0.01, f"frame {index} moves without sound"


def test_a_voice_that_cannot_speak_at_all_leaves_a_turn_that_ends():
    voice = FaultyVoice("exception")
    ((end, messages),) = replies(make_engines(["All bad. ", "So bad."], voice, TALKATIVE), "Hm?")
    assert end.samples / RATE < 3 and len(of(messages, Notice)) == 1


def test_a_slow_online_voice_is_replaced_within_two_and_a_half_seconds(measured):
    class Blocked(SineVoice):
        def speak(self, text: str) -> Iterator[np.ndarray]:
            time.sleep(30)
            yield np.zeros(1, np.float32)

    notices: list[str] = []
    voice = FallbackVoice(Blocked(name="online"), SineVoice(name="offline"), notices.append)
    began = time.monotonic()
    assert np.concatenate(list(voice.speak("Hello"))).any()
    assert measured("the offline voice spoke", time.monotonic() - began) < 2.5
    assert np.concatenate(list(voice.speak("Again"))).any()
    assert len(notices) == 1


# --- face ------------------------------------------------------------------------------------------------------------


class FaultyStreamer(TinyStreamer):
    """Works for a while in its first turn, then fails; works again when it begins anew."""

    def __init__(self, fault: str) -> None:
        self._fault, self._turns = fault, 0
        super().__init__()

    def reset(self, seed: int | None = None) -> None:
        super().reset(seed)
        self._turns += 1

    def feed(self, pcm: np.ndarray) -> np.ndarray:
        frames = super().feed(pcm)
        if self._turns == 2 and self._given > 12:  # made, begun, and begun for the second time
            if self._fault == "exception":
                raise RuntimeError("out of memory")
            frames[-1:] = np.nan
        return frames


@pytest.mark.parametrize("fault", ["exception", "not a number"])
def test_a_face_that_fails_goes_to_rest_and_the_sound_is_whole(fault, measured):
    engines = make_engines(SENTENCES, persona=TALKATIVE, new_streamer=lambda: FaultyStreamer(fault))
    (broken, messages), (whole, after) = replies(engines, "Hm?", "And now?")
    assert broken.samples == whole.samples and sound_of(messages).shape == sound_of(after).shape
    (notice,) = of(messages, Notice)
    assert "The face model failed" in notice.text and not of(after, Notice)
    openness = openness_of(messages)
    assert np.isfinite(openness).all() and openness[:10].max() > 0.1
    failed = np.flatnonzero(np.diff(openness[:40]) < 0)[0]
    resting = openness[failed:]
    measured("at rest", np.flatnonzero(resting < 0.01)[0] / FPS)
    moving = openness_of(after)
    assert resting[20:].max() < 0.01 < moving[len(moving) // 2 :].max(), "eased to rest, until the next turn"
    assert (np.diff(openness[20:]) <= 0).all(), "no jump"


def test_a_face_slower_than_the_voice_leaves_something_out_and_the_sound_is_whole(measured):
    class Slow(TinyStreamer):
        def feed(self, pcm: np.ndarray) -> np.ndarray:
            time.sleep(2 * len(pcm) / 16_000)
            return super().feed(pcm)

    async def main():
        async with talking(make_engines(["word " * 80 + "."], persona=TALKATIVE, new_streamer=Slow)) as talk:
            began = time.monotonic()
            await talk.conversation.handle(UserText(1, "Hm?"))
            messages = await talk.turn(1)
            return messages, time.monotonic() - began

    messages, seconds = asyncio.run(main())
    end = check_turn(messages, 1)
    behind = measured("the answer was all there after its sound by", seconds - end.samples / RATE)
    assert end.samples / RATE > 5 and behind < 2.5, "no backlog"
    (notice,) = of(messages, Notice)
    assert "slower than the voice" in notice.text
    openness = openness_of(messages)
    assert 0.2 < (openness > 0.1).mean() < 0.9, "it moves, and rests in between"


# --- language model --------------------------------------------------------------------------------------------------


def engines_at(service: Service, voice: SineVoice | None = None) -> Engines:  # noqa: F811
    engines = make_engines(voice=voice, persona=TALKATIVE)
    client = openai.AsyncOpenAI(base_url=service.url, api_key="secret-key", max_retries=1)
    return Engines(OpenAiModel(client, "m", "test service", Sampling()), engines.voice, engines.face, engines.persona)


STREAM = [chunk(word) for word in ("Well, ", "you ", "know, ", "it ", "is. ", "Or ", "not.")]


async def ask_twice(engines: Engines, service: Service) -> tuple:  # noqa: F811
    """The first answer, seconds to its first sound, and the answer when the service works again."""
    async with talking(engines) as talk:
        began = time.monotonic()
        await talk.conversation.handle(UserText(1, "Hm?"))
        await talk.until(lambda sent: bool(of(sent, PcmChunk)))
        seconds = time.monotonic() - began
        first = await talk.turn(1)
        asked = len(service.requests)
        service.status, service.cut, service.parts = 200, False, [chunk("Fine."), chunk(None, "stop"), DONE]
        talk.sent.clear()
        await talk.conversation.handle(UserText(2, "And now?"))
        second = await talk.turn(2)
        await engines.llm.close()
        return first, seconds, asked, check_turn(second, 2).reply


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_service_that_refuses(service, status, measured):  # noqa: F811
    service.status = status
    first, seconds, asked, then = asyncio.run(ask_twice(engines_at(service), service))
    assert check_turn(first, 1).reply == PERSONA.phrases.unreachable and then == "Fine."
    assert measured("first sound", seconds) < FALLBACK_SECONDS
    assert asked == (1 if status == 401 else 2), "a wrong key stays wrong"
    (notice,) = of(first, Notice)
    assert ("refused the key" in notice.text) == (status == 401) and notice.level == "error"


def test_no_first_token(service, measured):  # noqa: F811
    service.parts = [20.0, chunk("late")]
    first, seconds, _, then = asyncio.run(ask_twice(engines_at(service), service))
    assert check_turn(first, 1).reply == PERSONA.phrases.slow and then == "Fine."
    assert measured("first sound", seconds) < FALLBACK_SECONDS


@pytest.mark.parametrize("tokens", range(len(STREAM)))
def test_a_stream_cut_at_any_token(service, tokens, measured):  # noqa: F811
    service.parts, service.cut = STREAM[:tokens], True
    first, seconds, _, then = asyncio.run(ask_twice(engines_at(service), service))
    said = check_turn(first, 1).reply
    assert said.endswith(PERSONA.phrases.broken_off if tokens else PERSONA.phrases.unreachable)
    assert measured("first sound", seconds) < FALLBACK_SECONDS and then == "Fine."


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([chunk(None, "stop"), DONE], PERSONA.phrases.empty),
        ([chunk("**Yes**, <b>it is</b> `so`."), chunk(None, "stop"), DONE], "Yes, it is so."),
    ],
    ids=["empty", "markup"],
)
def test_an_answer_that_is_none(service, parts, said, measured):  # noqa: F811
    service.parts = parts
    first, seconds, _, then = asyncio.run(ask_twice(engines_at(service), service))
    assert check_turn(first, 1).reply == said and then == "Fine."
    assert measured("first sound", seconds) < FALLBACK_SECONDS


def test_an_answer_of_ten_thousand_words_is_ended(service, measured):  # noqa: F811
    service.parts = [chunk(f"Word number {number} is here. ") for number in range(2000)]
    first, seconds, _, then = asyncio.run(ask_twice(engines_at(service), service))
    assert len(check_turn(first, 1).reply) < 1400 and then == "Fine."
    assert measured("first sound", seconds) < FALLBACK_SECONDS
