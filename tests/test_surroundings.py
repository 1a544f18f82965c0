"""What a run does where there is no display or no sound card."""

from pathlib import Path

from demo.settings import Settings
from demo.surroundings import DEFAULT_FILM, adapt, bundled_questions, has_script, missing_parts


def test_a_complete_machine_changes_nothing():
    assert adapt(Settings(), []) == (Settings(), None)


def test_without_a_display_the_bundled_conversation_is_filmed_and_said():
    settings, sentence = adapt(Settings(), ["no display", "no sound card"])
    assert settings.headless and settings.question == bundled_questions() and settings.record == DEFAULT_FILM
    assert "No display and no sound card found" in sentence
    assert str(DEFAULT_FILM) in sentence


def test_what_the_user_asked_for_is_kept():
    asked = Settings(text=("Hi?",), record=Path("x.mp4"))
    settings, sentence = adapt(asked, ["no sound card"])
    assert settings.text == ("Hi?",) and settings.record == Path("x.mp4") and settings.headless
    assert not settings.question
    assert "x.mp4" in sentence


def test_headless_with_nothing_to_do_holds_the_bundled_conversation():
    settings, sentence = adapt(Settings(headless=True), [])
    assert settings.question == bundled_questions() and settings.record == DEFAULT_FILM
    assert sentence is None


def test_an_empty_line_to_say_is_still_a_script():
    assert has_script(Settings(say=""))
    assert not has_script(Settings())


def test_there_are_bundled_questions():
    assert bundled_questions() and all(path.is_file() for path in bundled_questions())


def test_a_display_is_told_by_the_environment():
    assert "no display" in missing_parts({}, "linux")
    assert "no display" not in missing_parts({"DISPLAY": ":0"}, "linux")
    assert "no display" not in missing_parts({}, "darwin")
