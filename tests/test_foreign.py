"""Other languages to test a face on: what their phones mean for the lips, and the corpus they make."""

import json
import shutil

import pytest

from streamingtalker.data import foreign
from streamingtalker.data.phones import BILABIALS, INVENTORY, SILENCE

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.mark.parametrize(
    "symbols, phones",
    [
        ("ʁ", ["hh"]),
        ("yː", ["uw"]),
        ("ɲ", ["n", "y"]),
        ("tɕh", ["ch", "hh"]),
        ("ts.", ["ch"]),
        ("ɔ̃", ["ao"]),
        ("ph5", ["p", "hh"]),
        ("r", ["d"]),
    ],
)
def test_foreign_phones_by_their_lips(symbols, phones):
    assert foreign.read_lips(symbols) == phones and set(phones) <= set(INVENTORY)


def test_an_unknown_symbol_is_named():
    with pytest.raises(ValueError, match="ʘ"):
        foreign.read_lips("ʘ")


def test_every_language_has_sentences_and_two_voices():
    languages = [language for language, _ in foreign.VOICES.values()]
    assert sorted(set(languages)) == sorted(foreign.SENTENCES) == ["de", "es", "fr", "ko", "zh"]
    assert all(languages.count(language) == 2 for language in foreign.SENTENCES)
    assert all(len(set(texts)) == len(texts) >= 12 for texts in foreign.SENTENCES.values())


@needs_espeak
@pytest.mark.parametrize("voice", ["german", "french", "spanish", "mandarin", "korean"])
def test_what_is_spoken_has_phones_all_along_and_lips_to_close(voice):
    text = foreign.SENTENCES[foreign.VOICES[voice][0]][1]
    sound = foreign.speak(voice, text)
    assert sound.phones[0].start == 0 and sound.phones[-1].end == pytest.approx(len(sound.pcm) / 16_000, abs=0.01)
    names = [phone.name for phone in sound.phones]
    assert set(names) <= set(INVENTORY) and len(set(names) & BILABIALS) and names.count(SILENCE) < 6
    assert 0.03 < sound.phones[-1].end / len(names) < 0.25  # seconds a phone: words, not spelt letters


@needs_espeak
def test_the_corpus_is_one_that_the_evaluation_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "SENTENCES", {"de": foreign.SENTENCES["de"][:1]})
    assert foreign.main(["--out", str(tmp_path), "--voices", "german"]) == 0
    manifest = json.loads((tmp_path / "corpus.json").read_text())
    assert [(clip["voice"], clip["split"]) for clip in manifest["clips"]] == [("german", "test")]
    assert all((tmp_path / folder).is_dir() for folder in ("wav", "phones", "weights_npy"))
