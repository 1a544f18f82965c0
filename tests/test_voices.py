"""Voices: the real hibari, the real gTTS against a stand-in for Google, and one voice standing in for another."""

import base64
import io
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest

from demo.settings import Settings, SettingsError
from demo.voices import SAMPLE_RATE, FallbackVoice, GttsVoice, HibariVoice, VoiceError, decode_mp3, open_voice, trimmed
from tests.server_fakes import SineVoice


def tone(seconds: float, hertz: float = 440.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def mp3_of(pcm: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    """``pcm`` as a real MP3, made with FFmpeg's LAME."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((pcm * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return out.getvalue()


class Google(ThreadingHTTPServer):
    """Answers as translate.google.com's batchexecute does: guard line, length, and the MP3 in base64 inside JSON."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []  # text and language
        self.mp3 = mp3_of(tone(0.5))
        self.status = 200
        self.body: bytes | None = None  # instead of the right answer
        self.wait = threading.Event()  # set: answer at once
        self.wait.set()

    @property
    def site(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Google

    def do_POST(self) -> None:
        assert self.path == "/_/TranslateWebserverUi/data/batchexecute"
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        name, parameters, *_ = json.loads(form["f.req"][0])[0][0]
        assert name == "jQ1olc"
        text, lang, *_ = json.loads(parameters)
        self.server.asked.append((text, lang))
        self.server.wait.wait(5)
        answer = json.dumps([base64.b64encode(self.server.mp3).decode()], separators=(",", ":"))
        line = json.dumps(
            [["wrb.fr", "jQ1olc", answer, None, None, None, "generic"], ["di", 91]], separators=(",", ":")
        )
        body = self.server.body if self.server.body is not None else f")]}}'\n\n{len(line)}\n{line}\n25\n[]".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def google(monkeypatch) -> Iterator[Google]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)  # gTTS would send even loopback through it
    server = Google()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.wait.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def hibari() -> HibariVoice:
    return HibariVoice()


def test_hibari_speaks_and_is_the_same_each_time(hibari):
    pcm = np.concatenate(list(hibari.speak("Hello, I am Maya.")))
    assert pcm.dtype == np.float32
    assert 1.0 < len(pcm) / SAMPLE_RATE < 3.0
    assert 0.05 < np.abs(pcm).max() <= 1.0
    np.testing.assert_array_equal(pcm, np.concatenate(list(hibari.speak("Hello, I am Maya."))))


def test_hibari_begins_and_ends_without_a_wait(hibari):
    pcm = np.concatenate(list(hibari.speak("The capital of France is Paris.")))
    loud = np.flatnonzero(np.abs(pcm) > 0.02)
    assert loud[0] / SAMPLE_RATE < 0.13
    assert (len(pcm) - loud[-1]) / SAMPLE_RATE < 0.25


def test_hibari_serves_two_threads_at_once(hibari):
    texts = ["One two three.", "Four five six."] * 3
    alone = [np.concatenate(list(hibari.speak(text))) for text in texts]
    together: dict[int, np.ndarray] = {}

    def speak(number: int) -> None:
        together[number] = np.concatenate(list(hibari.speak(texts[number])))

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, pcm in enumerate(alone):
        np.testing.assert_array_equal(together[number], pcm)


def test_hibari_left_in_mid_sentence_still_serves_the_next(hibari):
    abandoned = hibari.speak("First sentence. Second sentence.")
    next(abandoned)
    assert len(list(hibari.speak("Another."))) == 1


def test_hibari_has_nothing_to_say_to_nothing(hibari):
    assert list(hibari.speak("日本")) == []


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_silence_around_a_sound_is_trimmed(seconds):
    silence = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    pcm = trimmed(np.concatenate([silence, tone(0.5), silence]))
    assert len(pcm) / SAMPLE_RATE == pytest.approx(0.5 + 2 * min(seconds, 0.08), abs=0.02)


def test_silence_alone_stays():
    assert len(trimmed(np.zeros(1000, np.float32))) == 1000


def test_gtts_speaks_in_the_language_asked_for(google):
    voice = GttsVoice("de", google.site)
    pcm = np.concatenate(list(voice.speak("Guten Tag, wie geht es Ihnen?")))
    assert google.asked == [("Guten Tag, wie geht es Ihnen?", "de")]
    assert pcm.dtype == np.float32
    assert len(pcm) / SAMPLE_RATE == pytest.approx(0.5, abs=0.15)
    spectrum = np.abs(np.fft.rfft(pcm))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(pcm) == pytest.approx(440, abs=5)


def test_gtts_asks_in_parts_for_a_long_text(google):
    text = "This is a sentence of some length. " * 8
    pieces = list(GttsVoice("en", google.site).speak(text))
    assert len(pieces) == len(google.asked) > 2
    assert re.sub(r"\W", "", "".join(part for part, _ in google.asked)) == re.sub(r"\W", "", text)


def test_gtts_of_another_rate_is_resampled(google):
    google.mp3 = mp3_of(tone(0.5, rate=44_100), rate=44_100)
    pcm = np.concatenate(list(GttsVoice("en", google.site).speak("Hello")))
    assert len(pcm) / SAMPLE_RATE == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_gtts_refused_is_a_clear_error(google, status):
    google.status = status
    with pytest.raises(VoiceError, match=f"gTTS cannot speak .*{status}"):
        list(GttsVoice("en", google.site).speak("Hello"))


@pytest.mark.parametrize(
    "body",
    [
        b'[["wrb.fr","jQ1olc",null,null,null,[3],"generic"]]',  # what Google answers to a language it does not speak
        b'[["wrb.fr","jQ1olc","[\\"QUJD\\"]",null]]',  # base64, but no MP3
        b'[["wrb.fr","jQ1olc","[\\"A\\"]",null]]',  # not even base64
        b'[["wrb.fr","jQ1olc","[\\"\xff\xfe\\"]",null]]',
        b"",
        b"<html>captive portal</html>",
    ],
    ids=["no audio", "no mp3", "no base64", "no text", "empty", "html"],
)
def test_gtts_garbage_is_a_clear_error(google, body):
    google.body = body
    with pytest.raises(VoiceError, match="check the network or use --tts hibari"):
        list(GttsVoice("en", google.site).speak("Hello"))


def test_gtts_silent_network_times_out(google):
    google.wait.clear()
    start = time.monotonic()
    with pytest.raises(VoiceError):
        list(GttsVoice("en", google.site, seconds=0.3).speak("Hello"))
    assert time.monotonic() - start < 4


def test_gtts_unreachable_is_a_clear_error(google):
    voice = GttsVoice("en", google.site, seconds=0.5)
    google.shutdown()
    google.server_close()
    with pytest.raises(VoiceError, match="gTTS cannot speak"):
        list(voice.speak("Hello"))


def test_gtts_does_not_speak_every_language():
    with pytest.raises(SettingsError, match="gTTS does not speak 'xx'"):
        GttsVoice("xx")


def test_a_failing_voice_is_replaced_and_that_is_said_once(google):
    google.status = 503
    notices: list[str] = []
    now = [0.0]
    second = SineVoice(name="offline")
    voice = FallbackVoice(GttsVoice("en", google.site), second, notices.append, monotonic=lambda: now[0])
    for text in ("One", "Two", "Three"):
        assert np.concatenate(list(voice.speak(text))).any()
    assert second.spoken == ["One", "Two", "Three"]
    assert len(google.asked) == 1, "not asked again at once: each time would cost its time limit"
    assert len(notices) == 1
    assert "503" in notices[0] and "offline speaks instead" in notices[0]
    google.status = 200
    now[0] = 61.0
    list(voice.speak("Four"))
    assert len(google.asked) == 2 and second.spoken == ["One", "Two", "Three"]
    google.status = 500
    list(voice.speak("Five"))
    assert len(notices) == 2


def test_a_voice_that_drips_is_replaced_in_time():
    class Dripping(SineVoice):
        def speak(self, text: str) -> Iterator[np.ndarray]:
            for _ in range(100):
                time.sleep(0.05)
                yield np.zeros(10, np.float32)

    notices: list[str] = []
    voice = FallbackVoice(Dripping(name="slow"), SineVoice(name="offline"), notices.append, seconds=0.2)
    start = time.monotonic()
    assert np.concatenate(list(voice.speak("Hi"))).any()
    assert time.monotonic() - start < 3
    assert notices == ["slow took longer than 0.2 s. offline speaks instead for now."]


def test_the_voice_is_chosen_by_the_settings():
    notices: list[str] = []
    assert open_voice(replace(Settings(), tts="gtts", lang="fr"), notices.append).name == "gTTS (fr)"
    assert notices == []
    assert open_voice(replace(Settings(), lang="de"), notices.append).name == "gTTS (de)"
    assert open_voice(replace(Settings(), lang="zh"), notices.append, "gtts").name == "gTTS (zh)"
    assert open_voice(Settings(), notices.append, "gtts").name == "gTTS (en)"
    assert open_voice(Settings(), notices.append).name == "hibari" and notices == []
    assert open_voice(replace(Settings(), lang="de", tts="hibari"), notices.append, "gtts").name == "hibari"
    assert len(notices) == 1 and "--tts gtts" in notices[0]


def test_an_mp3_is_decoded_at_the_right_level():
    pcm = decode_mp3(mp3_of(tone(0.5)))
    assert np.abs(pcm[2400:-2400]).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("data", [b"", b"no mp3 at all", b"\xff\xfb" + bytes(100)])
def test_what_is_no_mp3_is_refused(data):
    with pytest.raises(ValueError, match="not an MP3"):
        decode_mp3(data)
