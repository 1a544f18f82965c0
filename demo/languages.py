"""Languages that are both heard and spoken: what Vosk calls its small model of each, and what gTTS calls its voice.

The names of the models are those of https://alphacephei.com/vosk/models, the codes of the voices gTTS' own.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language for ``--lang``."""

    code: str
    english: str  # its name, for the language model
    vosk: str  # the model's name on Vosk's site
    gtts: str


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("en", "English", "vosk-model-small-en-us-0.15", "en"),
        Language("ar", "Arabic", "vosk-model-ar-mgb2-0.4", "ar"),
        Language("ca", "Catalan", "vosk-model-small-ca-0.4", "ca"),
        Language("cs", "Czech", "vosk-model-small-cs-0.4-rhasspy", "cs"),
        Language("de", "German", "vosk-model-small-de-0.15", "de"),
        Language("es", "Spanish", "vosk-model-small-es-0.42", "es"),
        Language("fr", "French", "vosk-model-small-fr-0.22", "fr"),
        Language("gu", "Gujarati", "vosk-model-small-gu-0.42", "gu"),
        Language("hi", "Hindi", "vosk-model-small-hi-0.22", "hi"),
        Language("it", "Italian", "vosk-model-small-it-0.22", "it"),
        Language("ja", "Japanese", "vosk-model-small-ja-0.22", "ja"),
        Language("ko", "Korean", "vosk-model-small-ko-0.22", "ko"),
        Language("nl", "Dutch", "vosk-model-small-nl-0.22", "nl"),
        Language("pl", "Polish", "vosk-model-small-pl-0.22", "pl"),
        Language("pt", "Portuguese", "vosk-model-small-pt-0.3", "pt"),
        Language("ru", "Russian", "vosk-model-small-ru-0.22", "ru"),
        Language("sv", "Swedish", "vosk-model-small-sv-rhasspy-0.15", "sv"),
        Language("te", "Telugu", "vosk-model-small-te-0.42", "te"),
        Language("tr", "Turkish", "vosk-model-small-tr-0.3", "tr"),
        Language("uk", "Ukrainian", "vosk-model-small-uk-v3-small", "uk"),
        Language("vi", "Vietnamese", "vosk-model-small-vn-0.4", "vi"),
        Language("zh", "Chinese", "vosk-model-small-cn-0.22", "zh-CN"),
    )
}


def language_of(tag: str) -> str:
    """``en`` of ``en-GB``."""
    return tag.replace("_", "-").partition("-")[0].lower()
