"""Every language of the table is spoken by gTTS and heard by a Vosk model the store knows; sentences are cut in it."""

import pytest

from demo.languages import LANGUAGES, language_of
from demo.models import MODELS, OTHER_LANGUAGES
from demo.sentences import SentenceCutter
from demo.voices import GttsVoice


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_spoken_and_heard(code):
    language = LANGUAGES[code]
    assert language.code == code and GttsVoice(code).name
    assert GttsVoice(language.gtts).name == f"gTTS ({language.gtts})"
    model = MODELS[f"vosk-{code}"]
    assert not model.is_url or model.source == f"https://alphacephei.com/vosk/models/{language.vosk}.zip"
    assert (f"vosk-{code}" in OTHER_LANGUAGES) == (code != "en")


def test_tags_with_countries():
    assert language_of("zh-CN") == "zh" and language_of("en_GB") == "en"


@pytest.mark.parametrize(
    "text, sentences",
    [
        (
            "Das ist am 3. Oktober. Es gilt z. B. für Dr. Meier.",
            ["Das ist am 3. Oktober.", "Es gilt z. B. für Dr. Meier."],
        ),
        ("Bonjour ! M. Dupont arrive. Ça va ?", ["Bonjour !", "M. Dupont arrive.", "Ça va ?"]),
        ("¡Hola! El Sr. López vive aquí. ¿Y usted?", ["¡Hola!", "El Sr. López vive aquí.", "¿Y usted?"]),
        ("他说：“好的。”然后走了。真的？！是。", ["他说：“好的。”", "然后走了。", "真的？！", "是。"]),
        ("안녕하세요! 저는 마야입니다. 5,000원이에요.", ["안녕하세요!", "저는 마야입니다.", "5,000원이에요."]),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_sentences_are_cut_however_the_text_arrives(text, sentences, step):
    cutter = SentenceCutter()
    found = [piece for start in range(0, len(text), step) for piece in cutter.feed(text[start : start + step])]
    assert [*found, *cutter.finish()] == sentences
