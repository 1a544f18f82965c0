import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from demo.messages import Notice
from demo.microphone import RATE
from demo.models import ModelError, ModelStore
from demo.recognizers import (
    RecognizerError,
    Transcript,
    VoskRecognizer,
    WhisperRecognizer,
    believable,
    choose_recognizer,
    repeats,
)
from demo.settings import Settings
from streamingtalker.audio import Resampler, load_audio
from tests.conftest import missing

QUESTIONS = Path(__file__).parent.parent / "assets" / "questions"
ASKED = {
    "1_who_are_you": "Who are you?",
    "2_capital_of_france": "What is the capital of France?",
    "3_how_does_this_work": "How does this demo work?",
}


def model(name):
    try:
        return ModelStore().path(name)
    except ModelError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def whisper():
    return WhisperRecognizer(model("whisper-tiny-en"), threads=1)


@pytest.fixture(scope="module")
def vosk():
    pytest.importorskip("vosk")
    return VoskRecognizer(model("vosk-ko"), "ko")


def feed(recognizer, pcm):
    for first in range(0, len(pcm), 512):
        recognizer.feed(pcm[first : first + 512])


@pytest.mark.parametrize("name", ASKED)
def test_whisper_reads_the_bundled_questions_word_for_word(whisper, name):
    feed(whisper, load_audio(QUESTIONS / f"{name}.wav")[0])
    assert whisper.finish() == ASKED[name]


def test_whisper_begins_anew_after_every_utterance(whisper):
    feed(whisper, load_audio(QUESTIONS / "1_who_are_you.wav")[0])
    whisper.reset()
    feed(whisper, load_audio(QUESTIONS / "2_capital_of_france.wav")[0])
    assert whisper.finish() == ASKED["2_capital_of_france"]
    assert whisper.finish() == ""


def test_whisper_shows_what_was_said_so_far(whisper):
    pcm = load_audio(QUESTIONS / "2_capital_of_france.wav")[0]
    feed(whisper, pcm[: int(1.3 * RATE)])
    assert whisper.partial().lower().startswith("what is the")
    whisper.reset()


def test_what_was_recognised_in_a_pause_is_not_recognised_again(whisper):
    pcm = load_audio(QUESTIONS / "1_who_are_you.wav")[0]
    feed(whisper, pcm)
    text = whisper.partial()
    feed(whisper, np.full(RATE // 4, np.nan, np.float32))  # would spoil it
    assert whisper.finish(speech_samples=len(pcm) - 4800) == text == ASKED["1_who_are_you"]


def test_whisper_is_silent_about_noise(whisper):
    rng, t = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    for pcm in (
        np.zeros(RATE),
        rng.normal(0, 0.05, RATE),
        rng.normal(0, 0.1, 3 * RATE),
        0.3 * np.sin(2 * np.pi * 440 * t),
        np.eye(1, RATE, 5000)[0],
    ):
        whisper.feed(pcm.astype(np.float32))
        assert whisper.finish() == ""


def test_whisper_takes_half_a_minute_and_more(whisper):
    pcm = np.concatenate([np.pad(load_audio(QUESTIONS / f"{name}.wav")[0], (0, 9 * RATE)) for name in ASKED])
    assert len(pcm) > 30 * RATE
    whisper.feed(pcm)
    assert "capital of France" in whisper.finish()


def test_whisper_hears_through_few_lengths_of_windows_with_room_after_the_speech(whisper, monkeypatch):
    windows = {}

    def decode(pcm, window):
        windows[len(pcm)] = window
        return Transcript("hello", 0.0, 0.0, complete=True)

    monkeypatch.setattr(whisper, "_decode", decode)
    for tenths in range(1, 310):
        whisper.transcribe(np.zeros(tenths * RATE // 10, np.float32))
    assert len(set(windows.values())) <= 6  # of each length some memory is kept for good
    assert all(window >= min(samples + 8 * RATE, 30 * RATE) for samples, window in windows.items())
    assert windows[2 * RATE] == 10 * RATE and windows[30 * RATE] == 30 * RATE


def test_vosk_streams_text(vosk, tmp_path):
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng, which speaks the Korean, is not installed")
    path = tmp_path / "ko.wav"
    subprocess.run(["espeak-ng", "-v", "ko", "-w", path, "안녕하세요. 오늘 날씨가 어떻습니까?"], check=True)
    pcm, rate = load_audio(path)
    pcm = np.concatenate([Resampler(rate, RATE).feed(pcm), np.zeros(RATE, np.float32)])
    partials = []
    for first in range(0, len(pcm), 512):
        vosk.feed(pcm[first : first + 512])
        partials.append(vosk.partial())
    text = vosk.finish()
    assert any("가" <= letter <= "힣" for letter in text), text
    assert len({partial for partial in partials if partial}) > 2
    assert "[" not in text
    assert vosk.partial() == ""


def test_vosk_is_silent_about_silence(vosk):
    vosk.feed(np.zeros(RATE, np.float32))
    assert vosk.finish() == ""


def test_vosk_without_a_model_is_a_clear_error(tmp_path):
    pytest.importorskip("vosk")
    with pytest.raises(RecognizerError, match=r"holds no Vosk model.*demo\.models"):
        VoskRecognizer(tmp_path, "en")
    (tmp_path / "am").mkdir()
    (tmp_path / "am" / "final.mdl").write_bytes(b"rubbish")
    with pytest.raises(RecognizerError, match=r"cannot be loaded.*demo\.models"):
        VoskRecognizer(tmp_path, "en")


def test_whisper_without_a_model_is_a_clear_error(tmp_path):
    with pytest.raises(RecognizerError, match=r"cannot be loaded.*demo\.models"):
        WhisperRecognizer(tmp_path)


@pytest.mark.parametrize(
    ("transcript", "text"),
    [
        (Transcript("Who are you?", -0.1, 0.1, True), "Who are you?"),
        (Transcript("Hello.", -1.0, 0.17, True), "Hello."),
        (Transcript("you", -0.9, 0.95, True), ""),
        (Transcript("Thank you for watching!", -2.0, 0.3, True), ""),
        (Transcript("[MUSIC]", -0.2, 0.3, True), ""),
        (Transcript("(buzzing)", -0.2, 0.3, True), ""),
        (Transcript("...", -0.2, 0.1, True), ""),
        (Transcript("Hmm.", -0.4, 0.1, True), ""),
        (Transcript("Hmm, who are you?", -0.4, 0.1, True), "Hmm, who are you?"),
        (Transcript("Be " * 40, -0.1, 0.2, False), ""),
    ],
)
def test_dreams_are_told_from_speech(transcript, text):
    assert believable(transcript) == text


def test_repetition_is_seen():
    assert repeats("Who are you? Who are you? Who are")
    assert repeats("Yes. Yes.")
    assert not repeats("Who are you and who is she?")
    assert not repeats("Stop.")
    assert not repeats("")


# --- choosing ---------------------------------------------------------------------------------------------------------


class Offline(ModelStore):
    """A store that finds only what is on disk."""

    def fetch(self, name, progress=None):
        return self.path(name)


def choose(store, **options):
    notices: list[Notice] = []
    return choose_recognizer(Settings(**options), store, notices.append), notices


def test_an_unknown_language_names_those_there_are(tmp_path):
    with pytest.raises(RecognizerError, match=r"no Vosk model for the language 'xx'.*de, en, es"):
        choose(Offline(tmp_path), stt="vosk", lang="xx")


def test_whisper_refuses_other_languages(tmp_path):
    with pytest.raises(RecognizerError, match="only English"):
        choose(Offline(tmp_path), stt="whisper", lang="ko")


def test_auto_without_any_model_for_the_language_says_all_of_it(tmp_path):
    with pytest.raises(RecognizerError, match=r"vosk-ko.*only English"):
        choose(Offline(tmp_path), stt="auto", lang="ko")


def test_without_any_model_the_remedy_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"demo\.models"):
        choose(Offline(tmp_path), stt="auto")


class WithoutVosk(ModelStore):
    """A store whose Vosk model cannot be had; ``here`` tells whether Whisper's has been fetched before."""

    here, fetched = True, ()

    def installed(self, name):
        return self.here and not name.startswith("vosk")

    def has(self, name):
        return self.installed(name)

    def fetch(self, name, progress=None):
        self.fetched += (name,)
        if name.startswith("vosk"):
            raise ModelError("alphacephei.com cannot be reached, so the model vosk-en cannot be fetched.")
        return self.path(name)


def test_auto_takes_the_whisper_that_is_here_and_calls_nobody():
    model("whisper-tiny-en")
    store = WithoutVosk()
    recognizer, (notice,) = choose(store, stt="auto")
    assert recognizer.name == "whisper-tiny.en" and store.fetched == ("whisper-tiny-en",)
    assert "Whisper" in notice.text and "'python -m demo.models'" in notice.text


def test_auto_takes_whisper_where_the_vosk_site_is_out_of_reach_and_says_so():
    model("whisper-tiny-en")
    store = WithoutVosk()
    store.here = False
    recognizer, (notice,) = choose(store, stt="auto")
    assert recognizer.name == "whisper-tiny.en" and store.fetched == ("vosk-en", "whisper-tiny-en")
    assert "Whisper" in notice.text and "cannot be reached" in notice.text and "\n" not in notice.text


def test_auto_prefers_vosk():
    model("vosk-ko")
    pytest.importorskip("vosk")
    recognizer, notices = choose(ModelStore(), stt="auto", lang="ko")
    assert recognizer.name == "vosk-ko" and notices == []


def test_a_download_is_announced_once(tmp_path):
    class Slow(ModelStore):
        def fetch(self, name, progress=None):
            for done in (0, 10, 20):
                progress(name, done, 41_000_000)
            raise ModelError(f"{name} broke off.")

    notices: list[Notice] = []
    with pytest.raises(ModelError):
        choose_recognizer(Settings(stt="vosk"), Slow(tmp_path), notices.append)
    assert [notice.text for notice in notices] == ["Fetching the model vosk-en, 41 MB, once."]
