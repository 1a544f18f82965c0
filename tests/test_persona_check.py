"""The check of a persona's own test questions: what is right, what is told, and what the exit status says."""

import json
from pathlib import Path

import pytest

from demo.app import main
from demo.persona import PersonaError, load_persona
from demo.persona_check import check

PERSONAS = Path(__file__).resolve().parent.parent / "assets" / "personas"
TEXT = """
name = "Tim"
greeting = "Hi."
manner = "You are Tim."
facts = ["Whales eat krill.", "Bees dance."]
[[answers]]
questions = ["Where is the museum?"]
answer = "In the park."
"""


def with_tests(folder: Path, *tests: str) -> Path:
    path = folder / "tim.toml"
    path.write_text(TEXT + "".join(f"[[tests]]\n{test}\n" for test in tests))
    return path


@pytest.mark.parametrize("name", ["host", "museum"])
def test_the_shipped_personas_answer_all_their_test_questions(name):
    checked = check(load_persona(PERSONAS / f"{name}.toml"))
    assert [each for each in checked if not each.right] == [] and len(checked) > 60


def test_the_museum_guide_is_complete():
    rosa = load_persona(PERSONAS / "museum.toml")
    assert len(rosa.facts) == 40 and len(set(rosa.facts)) == 40 and len(rosa.answers) > 30
    assert sum(len(message["content"]) for message in rosa.opening()) < 1500


def test_right_and_wrong_are_told_apart(tmp_path):
    path = with_tests(
        tmp_path,
        'question = "um where is the museum"\nexpect = "the park"',
        'question = "who was napoleon"\nexpect = "llm"',
        'question = "what do whales eat"\nexpect = "llm"\nfact = "krill"',
        'question = "what do whales eat"\nexpect = "llm"\nfact = "dance"',
        'question = "who was napoleon"\nexpect = "the park"',
        'question = "where is the museum"\nexpect = "llm"',
    )
    assert [each.right for each in check(load_persona(path))] == [True, True, True, False, False, False]


def test_the_command_tells_and_its_status_says_whether_all_are_right(tmp_path, capsys):
    good = with_tests(tmp_path, 'question = "where is the museum"\nexpect = "park"')
    assert main(["--persona-check", "--persona", str(good)]) == 0
    assert "1 of 1 test questions" in capsys.readouterr().out
    bad = with_tests(tmp_path, 'question = "where is the [station]"\nexpect = "park"')
    assert main(["--persona-check", "--json", "--persona", str(bad)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["right"], told["of"], told["questions"][0]["given"]) == (0, 1, "llm")


@pytest.mark.parametrize(
    "test, wrong",
    [
        ('question = "x"\nexpect = "nowhere"', "No written answer says 'nowhere'"),
        ('question = "x"\nexpect = "llm"\nfact = "cats"', "No fact says 'cats'"),
    ],
)
def test_a_test_that_cannot_be_right_is_named(tmp_path, test, wrong):
    with pytest.raises(PersonaError, match=wrong):
        check(load_persona(with_tests(tmp_path, test)))
    with pytest.raises(PersonaError, match="no test questions"):
        check(load_persona(with_tests(tmp_path)))
