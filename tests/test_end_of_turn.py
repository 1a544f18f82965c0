import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.end_of_turn import Completeness, Patience, completeness

QUESTIONS = """
Who are you?
What is the capital of France?
How does this demo work?
Where are you from?
And you?
Really?
Are you alive? Can you see me?
Tell me, what is it that you are made of?
who are you
what is the capital of france
where are you from
what are you looking at
how many people live in berlin
can you hear me
do you like music
is there anybody
are the paintings real
what time is it
who was she
what can you do
what do you like
what to do in this town
Do you know who you are talking to?
"""

STATEMENTS = """
Hello.
Hello
Yes.
yes
no
stop
Thank you.
thank you very much
I like you.
i think it is
Yes, I do.
yes it was
My name is Anna.
I am from Germany.
Tell me a joke.
tell me something about the moon
I bought apples, pears and plums.
When I was young I lived in Rome.
if it rains we stay at home
Good morning!
that is all
I know that.
Well, that is a good one.
Red, green, and blue.
tell me what you can do
tell me how old the earth is
I think so.
Why?
I was wondering if you have a sister.
"""

UNFINISHED = """
and
I like apples and
I like apples and...
um
Um.
what is the
What is the...
What is
what is
who are
how
I want to go to
I want to go to the
tell me
Tell me about
tell me about the
I think that the
I am looking for
I have a question,
can you
Can you tell me
could you tell me
I would like
I was there because
because
if I go to the museum
When I said hello, but
I like red, green, blue
I like red, green,
My favourite colours are red, yellow,
I'm
it was very
so
I mean
you know
I wonder whether
it is a
the capital of
excuse me
do you have a
she said her name was
Do you know how to get to?
how do I get to
How can I get to?
What I want to ask is when?
do you know where
I was wondering if you end.
I want to know whether you like.
I would like to know.
I wanted to ask.
May I ask
"""


def lines(text):
    return [line for line in text.strip().splitlines() if line]


@pytest.mark.parametrize("text", lines(QUESTIONS))
def test_a_complete_question_expects_its_answer(text):
    assert completeness(text) is Completeness.QUESTION


@pytest.mark.parametrize("text", lines(STATEMENTS))
def test_a_statement_may_be_all(text):
    assert completeness(text) is Completeness.STATEMENT


@pytest.mark.parametrize("text", lines(UNFINISHED))
def test_more_must_come_after_half_a_sentence(text):
    assert completeness(text) is Completeness.UNFINISHED


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Wie heißt du?", Completeness.QUESTION),
        ("de", "wie alt bist du", Completeness.QUESTION),
        ("de", "ich möchte gerne und", Completeness.UNFINISHED),
        ("de", "ähm", Completeness.UNFINISHED),
        ("de", "Guten Tag.", Completeness.STATEMENT),
        ("fr", "comment allez vous", Completeness.QUESTION),
        ("fr", "je voudrais aller à la", Completeness.UNFINISHED),
        ("es", "¿Dónde está el museo?", Completeness.QUESTION),
        ("es", "quiero ir a", Completeness.UNFINISHED),
        ("ko", "이름이 뭐예요?", Completeness.QUESTION),
        ("ko", "안녕하세요", Completeness.STATEMENT),
        ("zh", "你叫什么名字？", Completeness.QUESTION),
        ("zh", "我喜欢苹果、", Completeness.UNFINISHED),
        ("zh-cn", "你好。", Completeness.STATEMENT),
        ("xx", "", Completeness.STATEMENT),
        ("en-gb", "what is the", Completeness.UNFINISHED),
    ],
)
def test_other_languages_are_judged_by_marks_and_a_few_words(language, text, expected):
    assert completeness(text, language) is expected


def test_silence_grows_with_what_is_missing_and_with_patience():
    patience = Patience()
    question, statement, half = (
        patience.silence_ms(completeness(text)) for text in ("Who are you?", "Hello.", "I want to")
    )
    assert 200 < question <= 300 < statement < half == patience.longest_ms
    slow = Patience(factor=1.5)
    assert slow.silence_ms(completeness("Hello.")) == 1.5 * statement


@given(st.text(max_size=60), st.sampled_from(["en", "de", "ko", ""]))
def test_any_text_has_an_answer(text, language):
    assert completeness(text, language) in Completeness
