"""The persona file: what it may hold, what is wrong with it, and whom the default one makes of the avatar."""

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
    assert persona == Persona(name="Tim", greeting="Hi.", manner="You are Tim.")
    assert persona.opening() == [{"role": "system", "content": "You are Tim."}]
    assert persona.written_answer("Who are you?") is None
    assert persona.phrases == Phrases()


def test_a_full_persona(tmp_path):
    text = SMALL + (
        'facts = ["You like tea.", "You are old."]\n[phrases]\nempty = "Hm."\n'
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
        (SMALL + 'nmae = "x"', "unknown key 'nmae'"),
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


def test_the_host_only_says_what_can_be_spoken(host):
    texts = [host.greeting, *(item.answer for item in host.answers), *vars(host.phrases).values()]
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
