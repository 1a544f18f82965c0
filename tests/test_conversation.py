"""Conversations: what is said to a question, to its interruption, and to everything that goes wrong."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from demo.conversation import Conversation, Memory, Recording
from demo.engines import Engines
from demo.llm import LlmBrokenOffError, LlmError, LlmSlowError, ReplyTooLongError
from demo.messages import (
    Commit,
    FaceFrame,
    Interrupt,
    Message,
    NewConversation,
    Notice,
    PcmChunk,
    Performance,
    ReplyText,
    SayPhrase,
    SayText,
    TurnEnd,
    UserText,
)
from demo.persona import Persona, WrittenAnswer
from demo.turn import SECRET_SECONDS
from streamingtalker.mood import Mood
from tests.server_fakes import PERSONA, RATE, TALKATIVE, SineVoice, TinyStreamer, check_turn, make_engines, of


@dataclass
class Talk:
    """A conversation without a socket: what it sends is kept."""

    conversation: Conversation
    sent: list[Message] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None  # set, while a client that is full does not take more

    async def until(self, found: Callable[[list[Message]], bool]) -> list[Message]:
        async with asyncio.timeout(10):
            while not found(self.sent):
                self.news.clear()
                await self.news.wait()
        return self.sent

    async def turn(self, number: int) -> list[Message]:
        """The messages of a turn, to its end."""
        await self.until(lambda sent: any(end.turn == number for end in of(sent, TurnEnd)))
        return [message for message in self.sent if getattr(message, "turn", number) == number]


@contextlib.asynccontextmanager
async def talking(engines: Engines, mood: Mood | None = None) -> AsyncIterator[Talk]:
    talk: Talk

    async def send(message: Message) -> None:
        if talk.hold is not None:
            await talk.hold.wait()
        await asyncio.sleep(0)
        talk.sent.append(message)
        talk.news.set()

    talk = Talk(Conversation(engines, send, mood))
    try:
        yield talk
    finally:
        await talk.conversation.close()


def replies(engines: Engines, *questions: str) -> list[tuple[TurnEnd, list[Message]]]:
    """The end and all messages of one turn after another."""

    async def main() -> list[tuple[TurnEnd, list[Message]]]:
        turns = []
        async with talking(engines) as talk:
            for number, question in enumerate(questions):
                talk.sent.clear()
                await talk.conversation.handle(UserText(number, question))
                messages = await talk.turn(number)
                turns.append((check_turn(messages, number), messages))
        return turns

    return asyncio.run(main())


def seconds_of(messages: list[Message]) -> float:
    """How much sound was sent."""
    return sum(len(chunk.pcm) // 2 for chunk in of(messages, PcmChunk)) / RATE


def reply(engines: Engines, question: str = "Hm?") -> tuple[str, list[str]]:
    """What is said, and what the operator is told."""
    ((end, messages),) = replies(engines, question)
    return end.reply, [notice.text for notice in of(messages, Notice)]


def test_sentences_are_announced_where_their_sound_begins():
    ((end, messages),) = replies(make_engines(["One two three. ", "Four five six. ", "Seven."]), "Hm?")
    texts = of(messages, ReplyText)
    assert [text.text for text in texts] == ["One two three.", "Four five six.", "Seven."]
    pcm = np.concatenate([np.frombuffer(chunk.pcm, "<i2") for chunk in of(messages, PcmChunk)])
    assert len(pcm) == end.samples
    for text in texts:
        begin = text.start_sample
        assert np.abs(pcm[begin : begin + 2400]).max() > 20_000
        assert begin == 0 or np.abs(pcm[begin - 4320 : begin]).max() == 0, "180 ms of silence before it"
    assert np.abs(pcm[-7000:]).max() == 0, "the mouth has time to close"


def test_the_first_sound_does_not_wait_for_the_whole_answer():
    async def main() -> None:
        async with talking(make_engines(["First sentence. ", "Second", 5.0, " one."])) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: len(of(sent, FaceFrame)) > 5)
            assert not of(talk.sent, TurnEnd)

    asyncio.run(main())


def test_silence_lets_the_face_finish_while_the_next_sentence_is_awaited():
    async def main() -> None:
        gate = asyncio.Event()

        def mouth_is_closed(sent: list[Message]) -> bool:
            frames = of(sent, FaceFrame)
            return bool(frames) and np.frombuffer(frames[-1].offsets, "<f2").max() < 1e-3

        async with talking(make_engines(["It is known. ", "B", gate, "ut late."])) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: seconds_of(sent) > 0.5 and mouth_is_closed(sent))
            assert len(of(talk.sent, ReplyText)) == 1
            gate.set()
            check_turn(await talk.turn(1), 1)
            assert len(of(talk.sent, ReplyText)) == 2

    asyncio.run(main())


def test_the_steps_of_a_turn_are_timed_one_after_another():
    ((end, _),) = replies(make_engines([0.1, "Well", 0.1, ", yes."]), "Hm?")
    assert list(end.spans_ms) == ["llm_first_token", "llm_first_sentence", "tts_first_audio", "first_frame"]
    assert all(span >= 0 for span in end.spans_ms.values())
    assert end.spans_ms["llm_first_token"] >= 95 and end.spans_ms["llm_first_sentence"] >= 95


def test_the_conversation_is_remembered():
    engines = make_engines(["I see."])
    replies(engines, "I am Tom.", "Who am I?")
    assert [message["content"] for message in engines.llm.prompts[1]] == [
        "You are a test.",
        "I am Tom.",
        "I see.",
        "Who am I?",
    ]
    assert engines.llm.foreseen[0] == engines.llm.prompts[1][:-1], "the time between turns is used to read ahead"


def test_memory_forgets_the_oldest_first():
    memory = Memory(characters=20, turns=2)
    for turn, question in enumerate(("one", "two", "three")):
        memory.put(turn, question, "yes")
    assert [message["content"] for message in memory.messages()] == ["two", "yes", "three", "yes"]


def test_memory_keeps_the_beginning_of_the_newest_turn():
    memory = Memory(characters=55)
    memory.put(0, "Before?", "Yes.")
    memory.put(1, "What is it?", "It is a lamp. It stands in the hall. Nobody lights it at night.")
    assert [message["content"] for message in memory.messages()] == [
        "What is it?",
        "It is a lamp. It stands in the hall.",
    ]
    memory.put(2, "one two three four " * 9, "It is a single long sentence without any end in sight at all")
    question, answer = (message["content"] for message in memory.messages())
    assert question == "one two three four one two" and answer == "It is a single long sentence"
    memory.put(3, "x" * 99, "y" * 99)
    assert [len(message["content"]) for message in memory.messages()] == [27, 28]


def test_what_is_remembered_of_a_turn_is_replaced():
    memory = Memory(characters=200)
    memory.put(1, "One?", "First. Second. Third.")
    memory.put(1, "One?", "First. Sec —")
    assert [message["content"] for message in memory.messages()] == ["One?", "First. Sec —"]
    memory.put(1, "One?", "")
    assert memory.messages() == [], "a question that nobody answered makes no turn"


@pytest.mark.parametrize(
    "script, remembered",
    [
        ([LlmError("No service; start it.")], []),
        ([], []),
        (["Paris is. Lovely at n", LlmBrokenOffError("Gone; look.")], ["Hm?", "Paris is. Lovely at n"]),
    ],
    ids=["unreachable", "empty", "broken off"],
)
def test_an_apology_is_not_remembered_as_an_answer(script, remembered):
    engines = make_engines(script)
    reply(engines)
    assert [message["content"] for message in engines.llm.foreseen[0]] == ["You are a test.", *remembered]


def test_a_set_phrase_is_not_remembered():
    async def main() -> None:
        engines = make_engines(["Yes."])
        async with talking(engines) as talk:
            await talk.conversation.handle(SayPhrase(1, "not_heard"))
            await talk.turn(1)
            await talk.conversation.handle(UserText(2, "Hm?"))
            await talk.turn(2)
        assert [message["content"] for message in engines.llm.prompts[0]] == ["You are a test.", "Hm?"]

    asyncio.run(main())


def test_markup_is_not_spoken():
    voice = SineVoice()
    said, _ = reply(make_engines(["**Hi** 😀\n```\nx = 1\n```\n- see [it](http://x.y)\n🎉"], voice))
    assert said == "Hi see it"
    assert voice.spoken == ["Hi", "see it"]


def test_nothing_is_said_twice():
    assert reply(make_engines(["I am here. ", "I am HERE. ", "You too."]))[0] == "I am here. You too."


def test_a_very_long_answer_ends_with_a_sentence():
    script = [f"This is sentence number {number} of many. " for number in range(2000)]
    assert reply(make_engines(script)) == (" ".join(map(str.strip, script[:3])), [])
    talkative = replace(PERSONA, longest_answer=1000)
    said, notices = reply(make_engines(script, persona=talkative))
    assert 1000 < len(said) < 1400 and said.endswith(".") and notices == []


def test_an_answer_without_an_end_is_ended():
    said, _ = reply(make_engines(["".join(f"and number {number}, " for number in range(9_000))]))
    assert 1000 < len(said) < 1600


def test_an_answer_cut_for_its_length_ends_with_its_last_whole_sentence():
    assert reply(make_engines(["One. Two is", ReplyTooLongError()])) == ("One.", [])
    assert reply(make_engines(["Only half a", ReplyTooLongError()])) == ("Only half a", [])


@pytest.mark.parametrize(
    "script, said, notices",
    [
        ([], PERSONA.phrases.empty, []),
        (["", " \n", "🎉"], PERSONA.phrases.empty, []),
        ([LlmError("No service; start it.")], PERSONA.phrases.unreachable, ["No service; start it."]),
        ([LlmSlowError("Slow; wait.")], PERSONA.phrases.slow, ["Slow; wait."]),
        ([LlmBrokenOffError("Gone; look.")], PERSONA.phrases.unreachable, ["Gone; look."]),
        (
            ["Paris is. Lovely at n", LlmBrokenOffError("Gone; look.")],
            f"Paris is. Lovely at n {PERSONA.phrases.broken_off}",
            ["Gone; look."],
        ),
    ],
    ids=["empty", "nothing to say", "unreachable", "slow", "broken off at once", "broken off"],
)
def test_a_language_model_that_fails_is_apologised_for(script, said, notices):
    assert reply(make_engines(script)) == (said, notices)


def test_the_turn_after_a_failure_works():
    engines = make_engines([LlmError("No; wait.")])
    engines.llm.script = [LlmError("No; wait.")]
    turns = asyncio.run(_fail_then_work(engines))
    assert turns == [PERSONA.phrases.unreachable, "Fine."]


async def _fail_then_work(engines: Engines) -> list[str]:
    async with talking(engines) as talk:
        await talk.conversation.handle(UserText(1, "Hm?"))
        first = check_turn(await talk.turn(1), 1)
        engines.llm.script = ["Fine."]
        talk.sent.clear()
        await talk.conversation.handle(UserText(2, "Hm?"))
        return [first.reply, check_turn(await talk.turn(2), 2).reply]


def test_a_written_answer_is_spoken_without_the_language_model():
    persona = Persona("M", "Hi.", "You are M.", answers=(WrittenAnswer(("Who are you?",), "I am M. A test."),))
    engines = make_engines(["wrong"], persona=persona)
    assert reply(engines, "who are you")[0] == "I am M. A test."
    assert engines.llm.prompts == []


def said(*script: str, persona: Persona = TALKATIVE, **given: Mood) -> list[tuple[str, str]]:
    """The sentences of an answer with their moods."""

    async def main() -> list[tuple[str, str]]:
        async with talking(make_engines(script, persona=persona), **given) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            return [(text.text, text.mood) for text in of(await talk.turn(1), ReplyText)]

    return asyncio.run(main())


def test_sentences_have_the_mood_of_their_words():
    assert said("I am sorry. ", "But wow, look!") == [("I am sorry.", "sad:0.6"), ("But wow, look!", "surprised:0.75")]
    assert said("It is noon.", persona=replace(TALKATIVE, mood=Mood("happy", 0.3))) == [("It is noon.", "happy:0.3")]
    assert said("I am sorry.", mood=Mood("happy")) == [("I am sorry.", "happy")]


@pytest.mark.parametrize(
    "script", [["[happy] It is noon."], ["[", "hap", "py", "] ", "It is noon."], ["[happy]\n", "It is noon."]]
)
def test_a_tag_of_the_language_model_is_obeyed_and_never_spoken(script):
    assert said(*script) == [("It is noon.", "happy:0.8")]


def test_a_written_answer_may_name_its_mood():
    persona = Persona("M", "Hi.", "You are M.", answers=(WrittenAnswer(("Hm?",), "It is noon.", Mood("sad", 0.4)),))
    assert said("wrong", persona=persona) == [("It is noon.", "sad:0.4")]


def test_an_apology_is_said_with_regret():
    assert said(persona=PERSONA)[0][1].startswith("sad")


def test_the_face_turns_to_the_mood_where_its_sentence_begins():
    streamers: list[TinyStreamer] = []

    def new_streamer() -> TinyStreamer:
        streamers.append(TinyStreamer())
        return streamers[-1]

    async def main() -> int:
        engines = make_engines(["I am sorry, that is how it is. ", "Wow!"], new_streamer=new_streamer)
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            return of(await talk.turn(1), ReplyText)[1].start_sample

    start = asyncio.run(main()) / RATE * TinyStreamer.fps
    assert [str(mood) for _, mood in streamers[0].moods] == ["neutral", "sad:0.6", "surprised:0.75"]
    frames = [given for given, _ in streamers[0].moods]
    assert frames[:2] == [0, 0] and start - 5 <= frames[2] <= start


def test_text_is_said_as_it_is():
    async def main() -> None:
        engines = make_engines(["wrong"])
        async with talking(engines) as talk:
            await talk.conversation.handle(SayText(1, "Hello Dr. Who. **Welcome!**"))
            end = check_turn(await talk.turn(1), 1)
            assert end.reply == "Hello Dr. Who. Welcome!"
            assert list(end.spans_ms) == ["tts_first_audio", "first_frame"]
            await talk.conversation.handle(SayPhrase(2, "greeting"))
            assert check_turn(await talk.turn(2), 2).reply == PERSONA.greeting
            await talk.conversation.handle(SayPhrase(3, "nonsense"))
            messages = await talk.turn(3)
            assert "no phrase 'nonsense'" in of(messages, Notice)[0].text
        assert engines.llm.prompts == []

    asyncio.run(main())


@pytest.mark.parametrize("text", ["", "🎉", "```\ncode\n```"])
def test_saying_nothing_ends_at_once(text):
    async def main() -> None:
        async with talking(make_engines()) as talk:
            await talk.conversation.handle(SayText(1, text))
            end = check_turn(await talk.turn(1), 1)
            assert (end.reply, end.samples, end.frames) == ("", 0, 0)

    asyncio.run(main())


def test_what_is_too_long_to_be_said_is_cut_and_the_operator_told():
    async def main() -> None:
        async with talking(make_engines()) as talk:
            await talk.conversation.handle(SayText(1, "🎉" * 20_001))
            assert "first 20000 of 20001 characters" in of(await talk.turn(1), Notice)[0].text

    asyncio.run(main())


# --- recordings ------------------------------------------------------------------------------------------------------


def pieces(pcm: np.ndarray, rate: int, turn: int = 1, size: int = 5_000) -> Iterator[Performance]:
    for start in range(0, len(pcm), size):
        yield Performance(turn, pcm[start : start + size].tobytes(), rate, start + size >= len(pcm))


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_a_recording_is_performed(rate):
    async def main() -> None:
        pcm = (8000 * np.sin(np.arange(2 * rate) * 2 * np.pi * 220 / rate)).astype("<i2")
        async with talking(make_engines()) as talk:
            for piece in pieces(pcm, rate):
                await talk.conversation.handle(piece)
            messages = await talk.turn(1)
            end = check_turn(messages, 1)
            assert end.reply == "" and abs(end.samples - 2 * RATE) < 50 and abs(end.frames - 60) <= 1
            heard = np.concatenate([np.frombuffer(chunk.pcm, "<i2") for chunk in of(messages, PcmChunk)])
            assert abs(np.abs(heard[5000:-5000]).max() - 8000) < 200

    asyncio.run(main())


@pytest.mark.parametrize(
    "second, wrong",
    [
        (Performance(1, bytes(100), 24_000, False), "changed its sample rate"),
        (Performance(1, bytes(101), 16_000, False), "broke a sample"),
    ],
)
def test_a_bad_recording_is_refused(second, wrong):
    async def main() -> None:
        async with talking(make_engines()) as talk:
            await talk.conversation.handle(Performance(1, bytes(3_200), 16_000, False))
            await talk.conversation.handle(second)
            assert wrong in of(await talk.turn(1), Notice)[0].text

    asyncio.run(main())


@pytest.mark.parametrize("rate", [-1, 0, 7, 10**9])
def test_a_recording_of_an_impossible_rate_is_refused(rate):
    async def main() -> None:
        async with talking(make_engines()) as talk:
            await talk.conversation.handle(Performance(1, bytes(100), rate, True))
            assert "samples a second" in of(await talk.turn(1), Notice)[0].text

    asyncio.run(main())


def kept(recording: Recording) -> int:
    """Bytes that wait in it."""
    return sum(len(piece.pcm) for piece in recording._pieces._queue)


@pytest.mark.parametrize("claimed", [16_000, 2**52])
def test_no_rate_that_a_client_states_fills_the_memory(claimed):
    recording, piece = Recording(), bytes(1_000_000)
    recording.add(Performance(1, piece, 16_000, False))
    for _ in range(1000):
        recording.add(Performance(1, piece, claimed, False))
    assert 900 * 32_000 < kept(recording) < 1000 * 32_000


def test_nothing_is_kept_of_a_recording_whose_turn_is_over():
    async def main() -> None:
        async with talking(make_engines()) as talk:

            async def add(turn: int) -> int:
                for _ in range(10):
                    await talk.conversation.handle(Performance(turn, bytes(3_200), 16_000, False))
                return kept(talk.conversation._recording)

            await talk.conversation.handle(Performance(1, bytes(3_200), 16_000, False))
            await talk.conversation.handle(Performance(1, bytes(101), 16_000, False))
            await talk.turn(1)
            assert await add(1) == 0, "refused"
            assert await add(2) > 0
            await talk.conversation.handle(Interrupt(2))
            assert await add(2) == 0, "interrupted before it could begin"
            await talk.conversation.handle(Performance(3, bytes(3_200), 16_000, True))
            check_turn(await talk.turn(3), 3)

    asyncio.run(main())


# --- interruption ----------------------------------------------------------------------------------------------------

LONG = ["This is one of very many sentences. ", *(f"Here is number {number}. " for number in range(500))]


async def everything_over() -> None:
    """Wait until nobody is left who could send anything."""
    async with asyncio.timeout(10):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


def test_nothing_of_a_turn_comes_after_its_interruption():
    async def main() -> None:
        engines = make_engines(LONG, persona=TALKATIVE)
        async with talking(engines) as talk:
            for number in range(1, 20, 2):
                await talk.conversation.handle(UserText(number, "Hm?"))
                await talk.until(lambda sent, number=number: len(sent) > 3 * number)
                await talk.conversation.handle(Interrupt(number))
                talk.sent.clear()
                await everything_over()
                assert talk.sent == []
            engines.llm.script = ["Done."]
            await talk.conversation.handle(UserText(21, "Hm?"))
            assert check_turn(await talk.turn(21), 21).reply == "Done."

    asyncio.run(main())


def test_a_new_question_ends_the_old_answer_wherever_it_is():
    async def main() -> None:
        gate = threading.Event()
        engines = make_engines(LONG, SineVoice(gate=gate), TALKATIVE)
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: of(sent, ReplyText))  # the voice is now stuck in its thread
            await talk.conversation.handle(UserText(2, "And now?"))
            talk.sent.clear()
            gate.set()
            await talk.until(lambda sent: of(sent, FaceFrame))
            assert {message.turn for message in talk.sent} == {2}
            assert of(talk.sent, FaceFrame)[0].index == 0

    asyncio.run(main())


class Hold(asyncio.Event):
    """Tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> bool:
        self.reached.set()
        return await super().wait()


def test_a_client_that_takes_nothing_can_still_be_interrupted():
    async def main() -> None:
        async with talking(make_engines(LONG, persona=TALKATIVE)) as talk:
            talk.hold = Hold()
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.hold.reached.wait()
            async with asyncio.timeout(10):
                await talk.conversation.handle(Interrupt(1))
            talk.hold.set()
            await everything_over()
            assert talk.sent == []

    asyncio.run(main())


def remembered(heard: float, *script: str) -> list[str]:
    """What is remembered of an answer to "Hm?" that was interrupted when ``heard`` seconds of it were heard."""

    async def main() -> list[str]:
        engines = make_engines(script, persona=TALKATIVE)
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: of(sent, TurnEnd))
            await talk.conversation.handle(Interrupt(1, round(heard * RATE)))
            await asyncio.sleep(0)
            engines.llm.script = ["Yes."]
            await talk.conversation.handle(UserText(2, "Go on."))
            await talk.turn(2)
        assert engines.llm.foreseen[-2] == engines.llm.prompts[1][:-1], "the time of the interruption is used"
        contents = [message["content"] for message in engines.llm.prompts[1]]
        assert (contents[0], contents[-1]) == (PERSONA.manner, "Go on.")
        return contents[1:-1]

    return asyncio.run(main())


SECOND = 0.02 * len("One two three four.") + 0.18  # the sine voice takes 20 ms a letter


def test_what_was_heard_before_an_interruption_is_remembered_in_whole_words():
    script = ["One two three four. ", "Five six seven."]
    assert remembered(0.0, *script) == []
    assert remembered(0.1, *script) == ["Hm?", "One —"]
    assert remembered(0.25, *script) == ["Hm?", "One two —"]
    assert remembered(SECOND - 0.05, *script) == ["Hm?", "One two three four. —"]
    assert remembered(SECOND + 0.02 * 9, *script) == ["Hm?", "One two three four. Five six —"]
    assert remembered(9.0, *script) == ["Hm?", "One two three four. Five six seven."]


def test_an_interrupted_apology_is_no_answer():
    assert remembered(0.5) == []


def test_an_answer_broken_off_while_it_is_made_is_remembered_as_far_as_it_was_heard():
    async def main() -> None:
        gate = threading.Event()
        engines = make_engines(["Half of what is said is heard. ", "Never begun."], SineVoice(gate=gate))
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: of(sent, ReplyText))
            await talk.conversation.handle(Interrupt(1, round(0.06 * 10 * RATE)))
            gate.set()
            engines.llm.script = ["Yes."]
            await talk.conversation.handle(UserText(2, "Go on."))
            await talk.turn(2)
        assert [message["content"] for message in engines.llm.prompts[1]][1:3] == ["Hm?", "Half of —"]

    asyncio.run(main())


def test_a_new_conversation_remembers_nothing_and_says_nothing_more():
    async def main() -> None:
        engines = make_engines(LONG, persona=TALKATIVE)
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: len(of(sent, FaceFrame)) > 5)
            await talk.conversation.handle(NewConversation())
            talk.sent.clear()
            await everything_over()
            assert talk.sent == []
            await talk.conversation.handle(UserText(2, "Who are you?"))
            await talk.until(lambda sent: of(sent, FaceFrame))
        assert [message["content"] for message in engines.llm.prompts[1]] == [PERSONA.manner, "Who are you?"]

    asyncio.run(main())


# --- answers begun in secret -----------------------------------------------------------------------------------------


def test_a_tentative_answer_is_begun_and_no_more_until_it_is_committed():
    async def main() -> None:
        async with talking(make_engines(LONG, persona=TALKATIVE)) as talk:
            await talk.conversation.handle(UserText(1, "Hm?", tentative=True))
            await talk.until(lambda sent: seconds_of(sent) > SECRET_SECONDS and len(of(sent, FaceFrame)) > 50)
            await asyncio.sleep(0.1)
            assert seconds_of(talk.sent) < SECRET_SECONDS + 0.3
            await talk.conversation.handle(Commit(1))
            await talk.until(lambda sent: seconds_of(sent) > 2 * SECRET_SECONDS)

    asyncio.run(main())


@pytest.mark.parametrize("script", [["Yes."], [LlmError("No service; start it.")]], ids=["answer", "failure"])
def test_a_tentative_answer_that_is_withdrawn_leaves_no_trace(script):
    async def main() -> None:
        engines = make_engines(script)
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Who", tentative=True))
            await talk.until(lambda sent: of(sent, TurnEnd) or isinstance(script[0], LlmError))
            await asyncio.sleep(0.05)
            assert of(talk.sent, Notice) == [], "nothing is told before it counts"
            await talk.conversation.handle(Interrupt(1))
            await asyncio.sleep(0)
            assert engines.llm.foreseen == []
            engines.llm.script = ["I am a test."]
            await talk.conversation.handle(UserText(2, "Who are you?"))
            await talk.turn(2)
        assert [message["content"] for message in engines.llm.prompts[1]] == [PERSONA.manner, "Who are you?"]

    asyncio.run(main())


def test_a_committed_answer_is_like_any_other():
    async def main() -> None:
        engines = make_engines(["I am a test."])
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Who are you?", tentative=True))
            assert check_turn(await talk.turn(1), 1).reply == "I am a test."
            await talk.conversation.handle(Commit(0))
            await talk.conversation.handle(Commit(1))
            await talk.conversation.handle(UserText(2, "And now?"))
            await talk.turn(2)
        assert [message["content"] for message in engines.llm.prompts[1]] == [
            PERSONA.manner,
            "Who are you?",
            "I am a test.",
            "And now?",
        ]

    asyncio.run(main())


def test_older_turns_and_repeated_ones_are_ignored():
    async def main() -> None:
        engines = make_engines(["Yes."])
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(5, "Hm?"))
            await talk.turn(5)
            talk.sent.clear()
            for message in (UserText(5, "?"), SayText(3, "no"), Performance(2, b"", 16_000, True), Interrupt(4)):
                await talk.conversation.handle(message)
            await talk.conversation.handle(Interrupt(9))
            await talk.conversation.handle(UserText(9, "too old"))
            await asyncio.sleep(0.05)
            assert talk.sent == []

    asyncio.run(main())


# --- faults ----------------------------------------------------------------------------------------------------------


class BrokenVoice(SineVoice):
    """Speaks one piece, then does what breaks it."""

    def __init__(self, fault: Exception | None = None, sound: float = 0.0) -> None:
        super().__init__()
        self._fault, self._sound = fault, sound

    def speak(self, text: str) -> Iterator[np.ndarray]:
        yield np.full(4_800, self._sound, np.float32)
        if self._fault:
            raise self._fault


class BrokenStreamer(TinyStreamer):
    def feed(self, pcm: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    "engines, wrong",
    [
        (make_engines(voice=BrokenVoice(RuntimeError("onnx"))), "sine failed (RuntimeError)"),
        (make_engines(voice=BrokenVoice(sound=float("nan"))), "not finite"),
        (make_engines(new_streamer=BrokenStreamer), "face model failed (out of memory)"),
    ],
    ids=["voice raises", "voice gives nan", "face raises"],
)
def test_a_fault_is_told_and_ends_neither_turn_nor_conversation(engines, wrong):
    async def main() -> None:
        async with talking(engines) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            messages = await talk.turn(1)
            assert wrong in of(messages, Notice)[0].text
            assert isinstance(messages[-1], TurnEnd)
            await talk.conversation.handle(UserText(2, "Hm?"))
            await talk.turn(2)

    asyncio.run(main())


def test_a_slow_face_holds_back_the_voice():
    released = threading.Event()

    class SlowStreamer(TinyStreamer):
        def feed(self, pcm: np.ndarray) -> np.ndarray:
            released.wait(2)
            return super().feed(pcm)

    async def main() -> None:
        async with talking(make_engines(LONG, persona=TALKATIVE, new_streamer=SlowStreamer)) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: seconds_of(sent) > 9)
            await asyncio.sleep(0.1)
            assert seconds_of(talk.sent) < 12, "ten seconds may wait, no more"
            released.set()

    asyncio.run(main())


def test_frames_that_are_ready_after_the_first_wait_for_no_sound():
    released = threading.Event()

    class HaltingVoice(SineVoice):
        def speak(self, text: str) -> Iterator[np.ndarray]:
            yield np.full(round(0.2 * self.sample_rate), 0.1, np.float32)
            released.wait(10)

    class FirstAlone(TinyStreamer):
        def _give(self, total: int) -> np.ndarray:
            return super()._give(total if self._given else min(total, 1))

    async def main() -> None:
        async with talking(make_engines(voice=HaltingVoice(), new_streamer=FirstAlone)) as talk:
            await talk.conversation.handle(UserText(1, "Hm?"))
            await talk.until(lambda sent: len(of(sent, FaceFrame)) > 1)
            released.set()
            await talk.turn(1)

    asyncio.run(main())
