import queue
import threading
from pathlib import Path

import numpy as np
import pytest

import demo.listener
import demo.understanding
from demo.acoustics import NO_INTERRUPTIONS, at_level
from demo.devices import DeviceError
from demo.end_of_turn import Patience
from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    Hearing,
    ListenerFailed,
    NotUnderstood,
    PartialText,
    RecordingEnded,
    UserSpeaking,
)
from demo.listener import Listener
from demo.microphone import BLOCK, RATE, AudioBlock, WavMicrophone
from demo.models import ModelError, ModelStore
from demo.recognizers import WhisperRecognizer
from streamingtalker.audio import load_audio
from tests.conftest import missing
from tests.test_microphone import ManualClock, write

QUESTIONS = Path(__file__).parent.parent / "assets" / "questions"
WHO, FRANCE = QUESTIONS / "1_who_are_you.wav", QUESTIONS / "2_capital_of_france.wav"


class Timetable(ManualClock):
    """A manual clock that does things at given times, in the thread that waits."""

    def __init__(self):
        super().__init__()
        self.actions = []
        self.settle = lambda: None

    def at(self, seconds, action):
        self.actions.append((100.0 + seconds, action))
        self.actions.sort(key=lambda item: item[0])

    def wait_until(self, due):
        self.settle()
        while self.actions and self.actions[0][0] <= due:
            self.actions.pop(0)[1]()
        super().wait_until(due)


class Scribe:
    """A recogniser that answers with how much it heard."""

    name = "scribe"
    partial_interval = 0.2

    def __init__(self, answer=lambda samples: f"{samples / RATE:.1f} seconds"):
        self.answer = answer
        self.calls = []
        self.reset()

    def feed(self, pcm):
        self.heard += len(pcm)

    def partial(self):
        self.calls.append("partial")
        return self.answer(self.heard)

    def finish(self, speech_samples=None):
        self.calls.append("finish")
        text = self.answer(speech_samples)
        self.reset()
        return text

    def reset(self):
        self.heard = 0


class Stage:
    """A listener on recordings in virtual time."""

    def __init__(self, recognizer=None, **options):
        self.clock = Timetable()
        self.microphone = WavMicrophone(monotonic=self.clock.monotonic, wait_until=self.clock.wait_until)
        self.recognizer = recognizer or Scribe()
        self.events = []
        self.listener = Listener(
            self.microphone, self.recognizer, self.events.append, monotonic=self.clock.monotonic, **options
        )
        self.clock.settle = self.listener.settle  # recognising takes no virtual time

    def run(self, seconds):
        """All events of that much virtual time."""
        self.clock.at(seconds, self.microphone.close)
        self.listener.start()
        assert self.listener.join(timeout=60)
        return self.events

    def of(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]


def test_a_question_becomes_text_timed_by_its_true_last_sample():
    stage = Stage()
    stage.microphone.play(WHO)
    stage.run(5.0)
    (final,) = stage.of(FinalText)
    recording_start = 0.4
    true_end = 100.0 + recording_start + len(load_audio(WHO)[0]) / RATE - 0.3
    utterance = final.utterance
    assert utterance.exact
    assert utterance.last_speech_time == pytest.approx(true_end, abs=0.04)
    assert utterance.last_speech_time == pytest.approx(100 + utterance.last_speech_sample / RATE)
    assert 0.45 < utterance.decided_time - utterance.last_speech_time < 0.62
    assert utterance.text_time >= utterance.decided_time
    (speaking,) = stage.of(UserSpeaking)
    assert speaking.time == pytest.approx(100.7, abs=0.1)
    assert stage.events.index(speaking) < stage.events.index(final)
    assert stage.of(RecordingEnded) == [RecordingEnded(WHO, 1)]
    assert stage.events[-1] == stage.of(RecordingEnded)[0]


def test_questions_follow_one_another():
    stage = Stage()
    for path in (WHO, FRANCE, WHO):
        stage.microphone.play(path)
    stage.run(12.0)
    assert [event.utterance.number for event in stage.of(FinalText)] == [1, 2, 3]
    assert [event.path for event in stage.of(RecordingEnded)] == [WHO, FRANCE, WHO]
    assert all(event.utterance.exact for event in stage.of(FinalText))


def test_the_first_pause_is_used_to_recognise_before_the_end_is_certain():
    stage = Stage()
    stage.microphone.play(WHO)
    stage.run(5.0)
    assert stage.recognizer.calls[-2:] == ["partial", "finish"]


def test_the_draft_is_told_before_the_end_is_certain_and_the_final_text_has_its_words():
    stage = Stage(Scribe(lambda samples: "Who are you?"))
    stage.microphone.play(WHO)
    stage.run(5.0)
    assert [type(event) for event in stage.events if not isinstance(event, PartialText)] == [
        UserSpeaking,
        Draft,
        FinalText,
        RecordingEnded,
    ]
    (draft,), (final,) = stage.of(Draft), stage.of(FinalText)
    assert (draft.utterance, draft.text) == (final.utterance.number, final.text)


def test_a_draft_is_withdrawn_when_the_user_goes_on(tmp_path):
    words = load_audio(WHO)[0]
    stage = Stage()
    stage.microphone.play(write(tmp_path / "twice.wav", np.concatenate([words[: -RATE // 5], words])))
    stage.run(6.0)
    kinds = [type(event) for event in stage.of(Draft, DraftWithdrawn, FinalText)]
    assert kinds[:2] == [Draft, DraftWithdrawn] and kinds[-1] is FinalText


def test_while_held_no_silence_ends_the_utterance_and_letting_go_does():
    stage = Stage()
    stage.microphone.play(WHO)
    stage.clock.at(0.2, lambda: stage.listener.hold(True))
    stage.clock.at(4.0, lambda: stage.listener.hold(False))
    stage.run(6.0)
    (final,) = stage.of(FinalText)
    assert final.utterance.decided_time == pytest.approx(104.0, abs=0.04)


def test_the_level_is_that_of_the_last_block(tmp_path):
    tone = np.sin(np.arange(2 * RATE) * 2 * np.pi * 500 / RATE) * 0.1
    levels, stage = [], Stage()
    stage.microphone.play(write(tmp_path / "tone.wav", tone))
    for seconds in (0.2, 1.5):
        stage.clock.at(seconds, lambda: levels.append(stage.listener.level))
    stage.run(2.0)
    assert levels == [-100.0, pytest.approx(-23.0, abs=0.1)]


@pytest.mark.parametrize(
    ("text", "silence"), [("Who are you?", 0.27), ("My name is Anna.", 0.5), ("I would like to", 1.3)]
)
def test_the_silence_that_ends_a_turn_depends_on_the_words(text, silence):
    stage = Stage(Scribe(lambda samples: text))
    stage.microphone.play(WHO)
    stage.run(5.0)
    (final,) = stage.of(FinalText)
    assert final.utterance.decided_time - final.utterance.last_speech_time == pytest.approx(silence, abs=0.08)


def test_the_end_waits_for_a_slow_recogniser_to_tell_the_words():
    heard = threading.Event()

    class Slow(Scribe):
        def partial(self):
            assert heard.wait(timeout=30)
            return "Who are you?"

    stage = Stage(Slow())
    stage.clock.settle = lambda: None
    stage.microphone.play(WHO)
    stage.clock.at(2.0, heard.set)
    stage.clock.at(2.0, lambda: stage.listener.settle())
    stage.run(5.0)
    (final,) = stage.of(FinalText)
    assert final.utterance.decided_time == pytest.approx(102.0, abs=0.07)


# --- over the avatar's voice ------------------------------------------------------------------------------------------


def over_the_avatars_voice(tmp_path, sound, answer):
    """What comes of float32 [n] while the avatar speaks, at a usual loudness."""
    stage = Stage(Scribe(answer))
    stage.listener.set_mode(Hearing.GUARDED)
    noise = np.random.default_rng(0).normal(0, 1e-4, RATE)
    stage.microphone.play(write(tmp_path / "over.wav", np.concatenate([noise, at_level(sound, -25), noise])))
    stage.run(0.4 + 2.0 + len(sound) / RATE + 2.0)
    return stage


@pytest.mark.parametrize("path", [WHO, FRANCE])
def test_speech_interrupts_and_is_understood_from_its_beginning(tmp_path, path):
    pcm = load_audio(path)[0]
    stage = over_the_avatars_voice(tmp_path, pcm, lambda samples: f"it was {samples} samples")
    (speaking,), (final,) = stage.of(UserSpeaking), stage.of(FinalText)
    assert speaking.interrupts and speaking.utterance == final.utterance.number
    assert speaking.time == pytest.approx(100.4 + 1.0 + 0.3, abs=0.13)
    assert stage.events.index(speaking) < stage.events.index(stage.of(PartialText)[0])
    assert int(final.text.split()[2]) > len(pcm) - 0.6 * RATE  # with its beginning: the file has 0.6 s of silence


@pytest.mark.parametrize("kind", NO_INTERRUPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_a_cough_a_laugh_a_hum_or_clapping_is_nothing(tmp_path, kind, seed):
    sound = NO_INTERRUPTIONS[kind](np.random.default_rng(seed))
    stage = over_the_avatars_voice(tmp_path, sound, lambda samples: "Mm-hmm.")
    assert all(isinstance(event, RecordingEnded) for event in stage.events)


def test_what_began_over_the_avatars_voice_is_ordinary_once_it_has_ended(tmp_path):
    """A hum at its end, which interrupted nothing, may be an answer."""
    stage = Stage(Scribe(lambda samples: "Yes."))
    stage.listener.set_mode(Hearing.GUARDED)
    sound = NO_INTERRUPTIONS["mm-hm"](np.random.default_rng(0))
    stage.microphone.play(write(tmp_path / "hum.wav", np.concatenate([np.zeros(RATE), at_level(sound, -25)])))
    stage.clock.at(0.4 + 1.0 + 0.4, lambda: stage.listener.set_mode(Hearing.OPEN))
    stage.run(5.0)
    (speaking,), (final,) = stage.of(UserSpeaking), stage.of(FinalText)
    assert not speaking.interrupts and final.text == "Yes."


def test_silence_and_noise_give_nothing(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    stage = Stage()
    stage.microphone.play(write(tmp_path / "noise.wav", noise))
    assert stage.run(6.0) == [RecordingEnded(tmp_path / "noise.wav", 0)]


@pytest.mark.parametrize("text", ["Who are you?", ""])
def test_what_recognising_has_freed_is_given_back_when_nobody_waits_for_its_text(monkeypatch, text):
    told = []
    stage = Stage(Scribe(lambda samples: text))
    monkeypatch.setattr(
        demo.understanding, "give_back_freed_memory", lambda: told.append(len(stage.of(FinalText, NotUnderstood)))
    )
    for path in (WHO, FRANCE):
        stage.microphone.play(path)
    stage.run(9.0)
    assert told == [1, 2]


def test_speech_without_text_is_told():
    stage = Stage(Scribe(lambda samples: ""))
    stage.microphone.play(WHO)
    stage.run(5.0)
    (event,) = stage.of(NotUnderstood)
    assert event.utterance.number == 1
    assert not stage.of(FinalText, PartialText)
    assert stage.of(RecordingEnded) == [RecordingEnded(WHO, 1)]


def test_while_muted_it_is_deaf():
    stage = Stage()
    stage.listener.set_mode(Hearing.DEAF)
    stage.microphone.play(FRANCE)
    assert stage.run(5.0) == [RecordingEnded(FRANCE, 0)]


def test_muting_in_the_middle_forgets_the_utterance():
    stage = Stage()
    stage.microphone.play(FRANCE)
    stage.clock.at(1.6, lambda: stage.listener.set_mode(Hearing.DEAF))
    stage.run(5.0)
    assert stage.of(UserSpeaking) and not stage.of(FinalText, NotUnderstood)


def test_after_unmuting_it_stays_deaf_for_the_reverberation_and_then_hears():
    stage = Stage(tail=0.5)
    stage.listener.set_mode(Hearing.DEAF)
    stage.microphone.play(WHO)  # heard from 0.7 s to 1.3 s
    stage.clock.at(1.0, lambda: stage.listener.set_mode(Hearing.OPEN))
    stage.clock.at(3.0, lambda: stage.microphone.play(FRANCE))
    stage.run(8.0)
    (final,) = stage.of(FinalText)
    assert final.utterance.last_speech_time > 103


def test_the_avatars_own_voice_starts_no_turn(tmp_path):
    """The avatar speaks from 1 s to 4 s and its voice is in the microphone; the user asks afterwards."""
    voice = np.tile(load_audio(FRANCE)[0], 2) * 0.3
    stage = Stage()
    stage.microphone.play(write(tmp_path / "echo.wav", voice))
    stage.clock.at(0.3, lambda: stage.listener.set_mode(Hearing.DEAF))
    stage.clock.at(0.4 + len(voice) / RATE, lambda: stage.listener.set_mode(Hearing.OPEN))
    stage.clock.at(7.0, lambda: stage.microphone.play(WHO))
    stage.run(12.0)
    (final,) = stage.of(FinalText)
    assert final.utterance.last_speech_time > 107


def test_a_slow_recogniser_does_not_hold_up_hearing():
    release = threading.Event()

    def answer(samples):
        assert release.wait(timeout=30)
        return "at last"

    stage = Stage(Scribe(answer))
    stage.clock.settle = lambda: None
    for path in (WHO, FRANCE):
        stage.microphone.play(path)
    stage.clock.at(7.9, release.set)
    stage.run(8.0)
    assert [event.text for event in stage.of(FinalText)] == ["at last", "at last"]


def test_a_lost_microphone_is_told():
    class Unplugged(WavMicrophone):
        def blocks(self):
            yield AudioBlock(np.zeros(BLOCK, np.float32), 0, 0.0)
            raise DeviceError("The microphone 'Headset' is gone; plug it in again and restart the demo.")

    events = []
    listener = Listener(Unplugged(), Scribe(), events.append)
    listener.start()
    assert listener.join(timeout=10)
    assert events == [ListenerFailed("The microphone 'Headset' is gone; plug it in again and restart the demo.")]


def test_a_broken_recogniser_is_told_and_logged(caplog):
    def answer(samples):
        raise RuntimeError("out of memory")

    stage = Stage(Scribe(answer))
    stage.clock.settle = lambda: None  # nobody works any more
    stage.microphone.play(WHO)
    stage.run(5.0)
    (failed,) = stage.of(ListenerFailed)
    assert "out of memory" in failed.message
    assert "RuntimeError" in caplog.text


def test_stopping_ends_both_threads_at_any_time():
    events = queue.SimpleQueue()
    listener = Listener(WavMicrophone(), Scribe(), events.put)
    listener.start()
    listener.stop()
    assert listener.join(timeout=0)
    listener.stop()


def test_stopping_waits_for_no_microphone_that_hangs(monkeypatch, caplog):
    thaws = threading.Event()

    class Frozen(WavMicrophone):
        def blocks(self):
            assert thaws.wait(30)
            yield from ()

    monkeypatch.setattr(demo.listener, "_GOODBYE_SECONDS", 0.05, raising=False)
    listener = Listener(Frozen(), Scribe(), lambda event: None)
    listener.start()
    stopping = threading.Thread(target=listener.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    left = not stopping.is_alive()
    thaws.set()
    assert left and "left to itself" in caplog.text
    assert listener.join(timeout=5)


def test_a_listener_stopped_while_its_microphone_opens_does_not_listen():
    opening, opens = threading.Event(), threading.Event()

    class Slow(WavMicrophone):
        """Cannot be closed before it is open."""

        def open(self):
            opening.set()
            assert opens.wait(30)
            self._closing.clear()
            super().open()

    listener = Listener(Slow(), Scribe(), lambda event: None)
    starting = threading.Thread(target=listener.start, daemon=True)
    starting.start()
    assert opening.wait(5)
    listener.stop()
    opens.set()
    starting.join(5)
    assert listener.join(timeout=5), "both threads have ended"


def test_end_silence_is_the_users_setting():
    stage = Stage(patience=Patience(factor=2.0))
    stage.microphone.play(WHO)
    stage.run(5.0)
    (final,) = stage.of(FinalText)
    assert 0.93 < final.utterance.decided_time - final.utterance.last_speech_time < 1.1


def test_whisper_hears_the_bundled_questions_in_the_stream():
    try:
        recognizer = WhisperRecognizer(ModelStore().path("whisper-tiny-en"), threads=1)
    except ModelError as error:
        missing(str(error))
    stage = Stage(recognizer)
    for path in (WHO, FRANCE):
        stage.microphone.play(path)
    stage.run(8.0)
    assert [event.text for event in stage.of(FinalText)] == ["Who are you?", "What is the capital of France?"]
