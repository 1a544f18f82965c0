"""The command line and the TOML file give the same settings and refuse the same mistakes."""

import dataclasses
from pathlib import Path

import pytest

from demo.settings import Settings, SettingsError, build_parser, from_toml, parse
from streamingtalker.mood import Mood


def test_without_arguments_every_setting_has_its_default():
    settings, rest = parse([])
    assert settings == Settings()
    assert rest.config is None and not rest.list_devices


def test_every_setting_is_an_option_with_help():
    text = build_parser().format_help()
    for item in dataclasses.fields(Settings):
        assert "--" + item.name.replace("_", "-") in text
        assert item.metadata["help"]


def test_lists_paths_and_switches_are_read():
    settings, _ = parse(["--question", "a.wav", "b.wav", "--fullscreen", "--record", "x.mp4", "--seed", "7"])
    assert settings.question == (Path("a.wav"), Path("b.wav"))
    assert settings.fullscreen and settings.seed == 7 and settings.record == Path("x.mp4")


def test_the_command_line_goes_over_the_file(tmp_path):
    file = tmp_path / "demo.toml"
    file.write_text('tts = "gtts"\nlang = "de"\npatience = 1.5\ntext = ["eins", "zwei"]\nav_offset_ms = 5\n')
    settings, _ = parse(["--config", str(file), "--lang", "fr"])
    assert (settings.tts, settings.lang, settings.patience) == ("gtts", "fr", 1.5)
    assert settings.text == ("eins", "zwei")
    assert settings.av_offset_ms == 5.0


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("voice = 1\n", "voice"),
        ('tts = "parrot"\n', "tts"),
        ("seed = true\n", "seed"),
        ('seed = "one"\n', "seed"),
        ('text = "not a list"\n', "text"),
        ("seed = \n", "TOML"),
        ("question = [1]\n", "question"),
        ("port = 99999\n", "0 to 65535"),
        ("av_offset_ms = nan\n", "av-offset-ms"),
        ('mood = "grumpy"\n', "mood is wrong. There is no mood 'grumpy'; choose one of neutral, happy"),
        ("mood = 1\n", "mood"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, named):
    file = tmp_path / "demo.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=named) as refused:
        from_toml(file)
    assert str(file) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        from_toml(tmp_path / "no.toml")


@pytest.mark.parametrize(
    "arguments", [["--size", "0"], ["--threads", "0"], ["--port", "-1"], ["--seed", "-1"], ["--patience", "-5.0"]]
)
def test_a_number_outside_its_range_is_refused_by_name(arguments):
    with pytest.raises(SettingsError, match=f"{arguments[0]} is {arguments[1]}; give a number from"):
        parse(arguments)


def test_a_mood_is_read_from_both():
    assert parse(["--mood", "happy:0.6"])[0].mood == Mood("happy", 0.6)
    assert parse([])[0].mood is None
    with pytest.raises(SettingsError, match=r"--mood is wrong.*'happy:0.6'"):
        parse(["--mood", "happy:much"])
    with pytest.raises(SettingsError, match=r"intensity 3\.0 of the mood sad is not between 0 and 1"):
        parse(["--mood", "sad:3"])
