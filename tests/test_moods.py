"""Which mood a sentence is said in."""

import pytest

from demo.moods import MoodReader, mood_of, without_tags
from demo.persona import load_persona
from demo.settings import Settings
from streamingtalker.mood import Mood


@pytest.mark.parametrize(
    ("sentence", "mood"),
    [
        ("Hello, nice to meet you!", "happy"),
        ("Good morning, Anna.", "happy"),
        ("You are welcome.", "happy"),
        ("Thank you for asking.", "happy"),
        ("I am glad you like it.", "happy"),
        ("That is a great question.", "happy"),
        ("Congratulations on your new job!", "happy"),
        ("Well done, you found it.", "happy"),
        ("I enjoy a good conversation.", "happy"),
        ("Here is a funny story.", "happy"),
        ("Goodbye, it was nice talking with you.", "happy"),
        ("Let us begin!", "happy"),
        ("See you tomorrow 😀", "happy"),
        ("Ich freue mich 😊", "happy"),
        ("I am sorry, I cannot reach my thoughts right now.", "sad"),
        ("Unfortunately the museum is closed today.", "sad"),
        ("His wife died in 1904.", "sad"),
        ("My condolences to your family.", "sad"),
        ("I apologize for the delay.", "sad"),
        ("I am afraid there is no train left.", "sad"),
        ("She felt lonely in the big city.", "sad"),
        ("C'est fini 😢", "sad"),
        ("I am sorry, that was a great loss.", "sad"),
        ("Wow, that is far away.", "surprised"),
        ("Believe it or not, an octopus has three hearts.", "surprised"),
        ("What a wonderful surprise!", "surprised"),
        ("You walked all the way?!", "surprised"),
        ("It is amazing how fast light travels.", "surprised"),
        ("Wirklich 😮", "surprised"),
        ("Be careful with the hot plate.", "serious"),
        ("This mushroom is poisonous and dangerous.", "serious"),
        ("In an emergency call 112.", "serious"),
        ("You must never mix these two cleaners.", "serious"),
        ("It is important to rest.", "serious"),
        ("Warning, the floor is wet.", "serious"),
        ("The capital of France is Paris.", None),
        ("Water boils at one hundred degrees Celsius.", None),
        ("It has four legs and a tail.", None),
        ("I am not happy with that.", None),
        ("There is no danger.", None),
        ("It isn't a great idea.", None),
        ("That is not very funny.", None),
        ("Sadako and Hiro live in Funchal.", None),
        ("The weather in Greatham is mild.", None),
        ("", None),
    ],
)
def test_words_signs_and_emoji_tell_the_mood(sentence, mood):
    told = mood_of(sentence)
    assert (told and told.name) == mood


def test_more_signs_make_a_stronger_mood():
    one, two = mood_of("I am glad."), mood_of("I am so glad, thank you, that is wonderful!")
    assert one.intensity < two.intensity <= 1
    assert mood_of("Ready!").intensity < one.intensity


@pytest.mark.parametrize(
    ("text", "left", "mood"),
    [
        ("[happy] Hello.", "Hello.", Mood("happy", 0.8)),
        ("[Happy]Hello.", "Hello.", Mood("happy", 0.8)),
        ("[mood: sad:0.5] Oh.", "Oh.", Mood("sad", 0.5)),
        ("[tone=serious] Listen.", "Listen.", Mood("serious", 0.8)),
        ("Well [laughs] yes.", "Well yes.", Mood("happy", 0.8)),
        ("[sad:7] Oh.", "Oh.", Mood("sad", 1.0)),
        ("[neutral] Yes.", "Yes.", Mood("neutral", 0.8)),
        ("[happy]", "", Mood("happy", 0.8)),
        ("See [1] and [the link](x).", "See [1] and [the link](x).", None),
        ("[unhappy] text", "[unhappy] text", None),
    ],
)
def test_tags_are_taken_off(text, left, mood):
    assert without_tags(text) == (left, mood)


def read(*sentences: str, **given: Mood) -> list[str]:
    reader = MoodReader(**given)
    return [str(reader.read(sentence).mood) for sentence in sentences]


def test_a_mood_lingers_for_a_sentence_that_tells_nothing_and_then_goes():
    assert read("I am sorry.", "The shop is shut.", "It opens at nine.") == ["sad:0.6", "sad:0.3", "neutral"]
    assert read("I am sorry.", "Wow!", resting=Mood("happy", 0.4)) == ["sad:0.6", "surprised:0.75"]


def test_a_tag_holds_until_the_next_one():
    said = read("[sad] It is over.", "Hello!", "[happy:1] But tomorrow", "the sun shines.")
    assert said == ["sad:0.8", "sad:0.8", "happy", "happy"]


def test_a_fixed_mood_is_kept_whatever_is_said():
    assert read("I am sorry.", "[sad] Oh.", "Wow!", fixed=Mood("happy")) == ["happy"] * 3


def test_what_tells_nothing_is_said_in_the_resting_mood():
    assert read("It is noon.", resting=Mood("serious", 0.4)) == ["serious:0.4"]


def test_a_mood_written_beside_an_answer_goes_before_its_words():
    line = MoodReader().read("I am sorry.", named=Mood("happy", 0.5))
    assert line.mood == Mood("happy", 0.5) and line.text == "I am sorry."


def test_the_host_greets_with_a_smile_and_apologizes_without():
    host = load_persona(Settings().persona)
    assert mood_of(host.greeting).name == "happy"
    regrets = set(host.phrases.apologies) - {host.phrases.indecent}
    assert {mood_of(text).name for text in regrets} == {"sad"}
