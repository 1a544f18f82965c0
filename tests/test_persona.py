"""The persona file: what it may hold, what is wrong with it, and whom the default one makes of the avatar."""

import itertools
from pathlib import Path

import pytest

from demo.persona import Example, Persona, PersonaError, Phrases, WrittenAnswer, load_persona
from demo.settings import Settings
from demo.speech_text import speakable
from streamingtalker.mood import Mood

SMALL = 'name = "Tim"\ngreeting = "Hi."\nmanner = "You are Tim."\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "persona.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def host() -> Persona:
    return load_persona(Settings().persona)


def test_a_small_persona(tmp_path):
    persona = load_persona(write(tmp_path, SMALL))
    assert persona == Persona(name="Tim", greeting="Hi.", manner="You are Tim.", translations=persona.translations)
    assert persona.opening() == [{"role": "system", "content": "You are Tim."}]
    assert persona.written_answer("Who are you?") is None
    assert persona.phrases == Phrases()


def test_a_full_persona(tmp_path):
    text = SMALL + (
        'nearest_facts = 2\nfacts = ["You like tea.", "You are old."]\n[phrases]\nempty = "Hm."\n'
        '[[examples]]\nquestion = "A?"\nanswer = "B."\n'
        '[[answers]]\nquestions = ["Where is the museum?"]\nanswer = "In  the\\n park."\n'
    )
    persona = load_persona(write(tmp_path, text))
    assert persona.examples == (Example("A?", "B."),)
    assert persona.answers == (WrittenAnswer(("Where is the museum?",), "In the park."),)
    assert persona.phrases.empty == "Hm." and persona.phrases.slow == Phrases().slow
    assert [message["content"] for message in persona.opening()] == [
        "You are Tim. You like tea. You are old.",
        "A?",
        "B.",
    ]
    assert persona.written_answer("Um, where is the museum please?").answer == "In the park."
    assert persona.written_answer("Where is the station?") is None


@pytest.mark.parametrize(
    "text, wrong",
    [
        (SMALL + 'nmae = "x"', "unknown key 'nmae'; write 'name'"),
        (SMALL + 'zzz = "x"', "unknown key 'zzz'; known are name, greeting"),
        (SMALL.replace("Hi.", "Hi {nmae}."), "'greeting' has the unknown placeholder {nmae}; write {name}"),
        (SMALL + "likeness = 2", "'likeness' needs to be a number from 0 to 1"),
        (SMALL + 'likeness = "0.5"', "'likeness' needs to be a number from 0 to 1"),
        (SMALL + 'voice = "parrot"', "'voice' is 'parrot'; choose one of hibari, gtts"),
        (
            SMALL + 'translations = "de"',
            "'translations' needs to be a table for each language; write [translations.de]",
        ),
        (SMALL + 'translations.de = "x"', "translations.de needs to be a table"),
        (
            SMALL + '[translations.de]\ngreting = "x"',
            "[translations.de] has the unknown key 'greting'; write 'greeting'",
        ),
        (SMALL + "phrases = 3", "phrases needs to be a table"),
        (SMALL + "lang = 3", "'lang' needs to be text"),
        ('name = "Tim"\ngreeting = "Hi."', "lacks the key 'manner'"),
        (SMALL.replace('"Tim"', "3"), "'name' needs to be text"),
        (SMALL.replace('"Tim"', '" "'), "'name' needs to be text"),
        (SMALL + 'facts = "one"', "'facts' needs to be a list"),
        (SMALL + "facts = [1]", "'facts' needs to be text"),
        (SMALL + "longest_answer = 0", "'longest_answer' needs to be a whole number above 0"),
        (SMALL + 'longest_answer = "3"', "'longest_answer' needs to be a whole number above 0"),
        (SMALL + '[phrases]\nhungry = "x"', "unknown key 'hungry'"),
        (SMALL + '[[answers]]\nquestion = "x"\nanswer = "y"', "unknown key 'question'"),
        (SMALL + '[[answers]]\nquestions = []\nanswer = "y"', "'questions' needs to be a list with at least one"),
        (SMALL + '[[examples]]\nquestion = "x"', "lacks the key 'answer'"),
        (SMALL + 'examples = ["x"]', "examples needs to be a table"),
        ("name = ", "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)
def test_what_is_wrong_is_one_clear_sentence(tmp_path, text, wrong):
    path = write(tmp_path, text)
    with pytest.raises(PersonaError) as caught:
        load_persona(path)
    assert wrong in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_file(tmp_path):
    with pytest.raises(PersonaError, match="cannot be read"):
        load_persona(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PersonaError, match="is not TOML"):
        load_persona(tmp_path / "binary.toml")


def test_phrases_by_name(host):
    assert host.phrase("greeting") == host.greeting
    assert host.phrase("not_heard") == host.phrases.not_heard
    with pytest.raises(PersonaError, match="no phrase 'opening'"):
        host.phrase("opening")


@pytest.mark.parametrize(
    "question, answer",
    [
        ("Who are you?", "I am Maya"),
        ("who are you", "I am Maya"),
        ("Hello Maya, who are you?", "I am Maya"),
        ("What's your name?", "I am Maya"),
        ("Um, so, what is this demo?", "StreamingTalker"),
        ("What is this?", "live demo"),
        ("How do you work?", "diffusion model"),
        ("Are you a real person?", "not a person"),
        ("Do you need the internet?", "one computer"),
        ("Thanks!", "welcome"),
        ("Hello!", "Hello"),
        ("Tell me a joke", "robot"),
    ],
)
def test_the_host_knows_who_it_is(host, question, answer):
    found = host.written_answer(question)
    assert found is not None and answer in found.answer


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "What is this movie about?",
        "Where are you going?",
        "How old is the universe?",
        "Who made the Mona Lisa?",
        "Who built the pyramids?",
        "How does a computer work?",
        "Can you see the moon?",
        "What is a neuron?",
        "What time is it in Tokyo?",
        "Why is grass green?",
        "Tell me about the sea.",
        "",
        "?!",
        "日本語",
    ],
)
def test_other_questions_go_to_the_language_model(host, question):
    assert host.written_answer(question) is None


def test_every_written_question_of_the_host_finds_its_own_answer(host):
    for item in host.answers:
        for question in item.questions:
            assert host.written_answer(question) == item, question


def _said(phrases):
    return itertools.chain(*([words] if isinstance(words, str) else words for words in vars(phrases).values()))


def test_of_several_invitations_one_is_said(host):
    said = [host.phrase(f"invitations {number}") for number in range(8)]
    assert said == [*host.phrases.invitations] * 2 and host.phrase("invitations x") == said[0]


def test_the_host_only_says_what_can_be_spoken(host):
    texts = [host.greeting, *(item.answer for item in host.answers), *_said(host.phrases)]
    for text in texts:
        assert speakable(text) == text


def test_the_host_leaves_room_in_a_small_context(host):
    assert sum(len(message["content"]) for message in host.opening()) < 1500


def test_face_and_moods_are_read(tmp_path):
    file = tmp_path / "p.toml"
    text = 'name = "N"\ngreeting = "Hi."\nmanner = "M."\navatar = "maya"\nmood = "happy:0.3"\n'
    file.write_text(text + '[[answers]]\nquestions = ["Who?"]\nanswer = "Me."\nmood = "surprised"\n')
    persona = load_persona(file)
    assert (persona.avatar, persona.mood, persona.answers[0].mood) == ("maya", Mood("happy", 0.3), Mood("surprised"))
    file.write_text(text.replace("happy:0.3", "grumpy"))
    with pytest.raises(PersonaError, match=r"p\.toml: 'mood' is wrong\. There is no mood 'grumpy'"):
        load_persona(file)


NAMELESS = """greeting = "I am {name}."\nmanner = "You are {name}."\n[[answers]]\nquestions = ["Hello {name}."]
answer = "{name} says hello."\n[translations.de]\ngreeting = "Ich bin {name}."\n"""


def test_the_face_names_whom_the_file_does_not(tmp_path):
    file = write(tmp_path, NAMELESS)
    assert load_persona(file).greeting == "I am Maya."
    kwame = load_persona(file, "kwame")
    assert (kwame.name, kwame.greeting, kwame.manner) == ("Kwame", "I am Kwame.", "You are Kwame.")
    assert kwame.written_answer("hello kwame").answer == "Kwame says hello."
    assert kwame.in_language("de-AT").greeting == "Ich bin Kwame."
    assert load_persona(file, "faces/the_queen.glb").name == "The Queen"
    own = write(tmp_path, 'avatar = "mei"\n' + NAMELESS)
    assert (load_persona(own).name, load_persona(own, "arthur").name) == ("Mei", "Arthur")
    fixed = write(tmp_path, 'name = "Ada"\n' + NAMELESS)
    assert load_persona(fixed, "arthur").greeting == "I am Ada."


def test_the_host_agrees_with_its_face():
    arthur = load_persona(Settings().persona, "arthur")
    said = [arthur.greeting, *(item.answer for item in arthur.answers), *(m["content"] for m in arthur.opening())]
    assert any("Arthur" in text for text in said) and not any("Maya" in text or "{" in text for text in said)


def test_in_another_language_only_what_is_translated_is_said(host):
    german = host.in_language("de")
    assert german.greeting.startswith("Hallo, ich bin Maya") and "verstanden" in german.phrases.not_heard
    assert german.manner.endswith("Always answer in German.") and german.examples == ()
    assert german.written_answer("Who are you?") is None and host.untranslated("de") is None
    assert host.in_language("en-GB") == host
    finnish = host.in_language("fi")
    assert finnish.greeting == host.greeting and "[translations.fi]" in host.untranslated("fi")


@pytest.mark.parametrize("lang", ["de", "es", "fr", "ko", "zh"])
def test_every_usual_phrase_is_translated(host, lang):
    there = host.in_language(lang)
    assert all(getattr(there.phrases, item) != getattr(Phrases(), item) for item in vars(Phrases()))
    assert "Maya" in there.greeting
    for text in (there.greeting, *_said(there.phrases)):
        assert speakable(text, lang) == text


def test_a_persona_written_in_another_language(tmp_path):
    text = 'name = "Emil"\nlang = "de"\ngreeting = "Hallo."\nmanner = "Du bist Emil."\n'
    emil = load_persona(write(tmp_path, text + '[phrases]\nslow = "Moment."\n'))
    assert emil.phrases.slow == "Moment." and "verstanden" in emil.phrases.not_heard
    assert emil.untranslated("de-AT") is None and "'de'" in emil.untranslated("en")


def test_only_the_nearest_facts_are_told(tmp_path):
    facts = 'facts = ["Whales eat krill.", "Sharks have no bones.", "Bees dance."]\n'
    persona = load_persona(write(tmp_path, SMALL + facts))
    assert persona.opening() == [{"role": "system", "content": "You are Tim."}]
    assert persona.prompt("what do whales eat")[-1]["content"] == "Fact: Whales eat krill.\nwhat do whales eat"
    assert persona.prompt("who are you")[-1]["content"] == "who are you"
    past = [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Hm."}]
    assert persona.prompt("what is a bee", past)[1:3] == past
    assert persona.prompt("what is a bee")[-1]["content"].startswith("Fact: Bees dance.")
    all_of_them = load_persona(write(tmp_path, "nearest_facts = 3\n" + SMALL + facts))
    assert "Bees dance." in all_of_them.opening()[0]["content"]
    assert all_of_them.prompt("what is a bee")[-1]["content"] == "what is a bee"


def test_an_example_may_show_what_to_make_of_a_fact(tmp_path):
    example = '[[examples]]\nfact = "F."\nquestion = "Q?"\nanswer = "A."\n'
    assert load_persona(write(tmp_path, SMALL + example)).opening()[1]["content"] == "Fact: F.\nQ?"


def test_an_open_question_stops_a_written_answer(tmp_path):
    answers = '[[answers]]\nquestions = ["Where are you?"]\nanswer = "Here."\n'
    asked = "where are you going"
    assert load_persona(write(tmp_path, "likeness = 0.5\n" + SMALL + answers)).written_answer(asked).answer == "Here."
    open_too = 'likeness = 0.5\nopen_questions = ["Where are you going?"]\n' + SMALL + answers
    assert load_persona(write(tmp_path, open_too)).written_answer(asked) is None
