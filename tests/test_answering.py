"""What is said to a question: facts in the prompt, nothing indecent in or out. The rest: test_conversation.py."""

import asyncio
import codecs
from dataclasses import replace

import pytest

from demo.answering import Answerer
from demo.decency import Decency
from demo.persona import Persona, Phrases, WrittenAnswer
from demo.settings import Settings, parse
from tests.server_fakes import ScriptedModel

ABUSE = codecs.encode("lbh ner na nffubyr", "rot13")  # see test_decency.py
ROSA = Persona(
    "Rosa",
    "Hi.",
    "You are Rosa.",
    facts=("Whales eat krill.", "Bees dance."),
    answers=(WrittenAnswer(("What is a tit?",), "A tit is a small bird."),),
    phrases=Phrases(indecent="Something nicer, please.", empty="No answer."),
)


def answer(question: str, *script: str, decency: Decency | None = None, persona: Persona = ROSA) -> tuple[str, list]:
    """What is said, and what the language model was asked."""
    model = ScriptedModel(script)

    async def said() -> str:
        answerer = Answerer(model, persona, "en", decency=decency)
        return " ".join([line.text async for line in answerer.answer(question, [], lambda step: None, report)])

    async def report(text: str) -> None:
        raise AssertionError(text)

    return asyncio.run(said()), model.prompts


def test_the_nearest_fact_is_in_the_prompt():
    said, prompts = answer("what do whales eat", "Krill.")
    assert said == "Krill."
    assert prompts[0][0]["content"] == "You are Rosa." and "Whales eat krill." in prompts[0][-1]["content"]


def test_an_indecent_question_is_not_answered_and_not_even_thought_about():
    assert answer(ABUSE, "Fine.", decency=Decency()) == ("Something nicer, please.", [])
    assert answer(ABUSE, "Fine.")[0] == "Fine."


@pytest.mark.parametrize(
    "script, said",
    [
        (["It is noon. ", f"And {ABUSE}. ", "Bye."], "It is noon. Bye."),
        ([f"{ABUSE}."], "No answer."),
        (["It is so late that I can tell you now, you are really such a very big, ", "an idiot."], None),
    ],
)
def test_what_is_indecent_in_an_answer_is_left_out(script, said):
    got = answer("what time is it", *script, decency=Decency())[0]
    assert got == said if said is not None else Decency().is_clean(got)


def test_what_was_written_down_is_said_as_it_is():
    persona = replace(ROSA, answers=(WrittenAnswer(("Which bird is this?",), "A tit, and one of the tits."),))
    assert answer("which bird is this", decency=Decency(), persona=persona)[0] == "A tit, and one of the tits."


def test_the_filter_is_a_setting():
    assert not Settings().filters and Settings(filter=True).filters
    assert parse(["--filter"])[0].filters and not parse(["--no-filter"])[0].filters
    assert parse(["--no-filter"])[0].filter is False and parse([])[0].filter is None
