import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.acoustics import at_level, babble
from demo.microphone import BLOCK, RATE
from demo.voice_activity import (
    SileroDetector,
    SpeechAudio,
    SpeechEnded,
    SpeechPaused,
    SpeechStarted,
    VoiceActivity,
    VoiceActivityOptions,
)
from streamingtalker.audio import load_audio

QUESTIONS = sorted((Path(__file__).parent.parent / "assets" / "questions").glob("*.wav"))


class Scripted:
    """A detector that reads its probability off the block itself."""

    def probability(self, pcm):
        return float(pcm[0])

    def reset(self):
        pass


def run(activity, blocks, start=0):
    return [
        (k, event)
        for k, pcm in enumerate(blocks)
        for event in activity.feed(np.asarray(pcm, np.float32), start + k * BLOCK)
    ]


def scripted(probabilities, **options):
    activity = VoiceActivity(Scripted(), VoiceActivityOptions(near_db=-math.inf, **options))
    return run(activity, [np.full(BLOCK, p, np.float32) for p in probabilities])


def kinds(events, *wanted):
    return [event for _, event in events if isinstance(event, wanted)]


def cut(pcm):
    pcm = np.pad(pcm, (0, -len(pcm) % BLOCK)).astype(np.float32)
    return pcm.reshape(-1, BLOCK)


def heard(pcm, **options):
    return run(VoiceActivity(SileroDetector(), VoiceActivityOptions(**options)), cut(pcm))


def test_an_utterance_has_preroll_pause_and_end():
    events = scripted([0] * 20 + [1] * 10 + [0] * 20)
    (started,) = kinds(events, SpeechStarted)
    assert started.sample == (20 - 10) * BLOCK  # 300 ms before the first block of speech, in whole blocks
    assert len(started.audio) == 15 * BLOCK  # and the five blocks it took to be sure
    (paused,) = kinds(events, SpeechPaused)
    (ended,) = kinds(events, SpeechEnded)
    assert paused.last_speech_sample == ended.last_speech_sample == 30 * BLOCK
    assert ended.decided_sample == 45 * BLOCK  # 480 ms are 15 blocks


def test_audio_is_passed_on_without_gap_or_overlap():
    values = [0.1] * 12 + [0.9, 0.8, 0.2, 0.7, 0.95, 0.6] + [0.5, 0.6] * 8 + [0.0] * 20
    events = scripted(values)
    (started,) = kinds(events, SpeechStarted)
    (ended,) = kinds(events, SpeechEnded)
    audio = np.concatenate([started.audio, *(event.audio for event in kinds(events, SpeechAudio))])
    first = started.sample // BLOCK
    assert np.allclose(audio[::BLOCK], values[first : ended.decided_sample // BLOCK])


def test_short_sounds_are_nothing():
    assert scripted([0] * 20 + ([1] * 4 + [0] * 6) * 10) == []


def test_short_gaps_inside_a_beginning_are_bridged():
    assert kinds(scripted([0, 1, 1, 0, 0, 1, 1, 0, 1, 0]), SpeechStarted)


def test_hysteresis_keeps_weak_speech_going_but_does_not_begin_it():
    assert scripted([0.45] * 50) == []
    (ended,) = kinds(scripted([0.9] * 5 + [0.4] * 20 + [0] * 20), SpeechEnded)
    assert ended.last_speech_sample == 25 * BLOCK


def test_a_pause_may_be_taken_up_again():
    events = scripted([1] * 8 + [0] * 10 + [1] * 8 + [0] * 20)
    assert len(kinds(events, SpeechStarted)) == len(kinds(events, SpeechEnded)) == 1
    assert len(kinds(events, SpeechPaused)) == 2


def test_end_silence_is_a_setting():
    events = scripted([1] * 8 + [0] * 40, end_silence_ms=960)
    (ended,) = kinds(events, SpeechEnded)
    assert ended.decided_sample - ended.last_speech_sample == 30 * BLOCK


def test_who_never_stops_is_cut_and_heard_on():
    events = scripted([1] * 200, max_utterance_ms=2000)
    ends = kinds(events, SpeechEnded)
    starts = kinds(events, SpeechStarted)
    assert len(ends) == 3 and len(starts) == 4
    assert all(end.decided_sample - start.sample <= 2 * RATE for start, end in zip(starts, ends, strict=False))
    assert starts[1].sample == ends[0].decided_sample  # nothing is lost in between


def test_reset_forgets_the_utterance():
    activity = VoiceActivity(Scripted(), VoiceActivityOptions(near_db=-math.inf))
    run(activity, [np.ones(BLOCK)] * 10)
    assert activity.speaking
    activity.reset()
    assert not activity.speaking
    assert run(activity, [np.zeros(BLOCK)] * 50) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.integers(1, 20)), max_size=30))
def test_events_alternate_and_positions_ascend(runs):
    events = [event for _, event in scripted([p for p, n in runs for _ in range(n)], max_utterance_ms=3000)]
    speaking, position = False, 0
    for event in events:
        if isinstance(event, SpeechStarted):
            assert not speaking and event.sample >= position
            speaking, position = True, event.sample + len(event.audio)
        elif isinstance(event, SpeechAudio):
            assert speaking
            position += BLOCK
        elif isinstance(event, SpeechEnded):
            assert speaking and event.decided_sample == position >= event.last_speech_sample
            speaking = False


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_silero_finds_a_question_and_its_end(path):
    pcm, rate = load_audio(path)
    assert rate == RATE
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.002, len(pcm) + 3 * RATE)
    noise[RATE : RATE + len(pcm)] += pcm
    events = heard(noise)
    (started,) = kinds(events, SpeechStarted)
    (ended,) = kinds(events, SpeechEnded)
    first, last = RATE + 0.3 * RATE, RATE + len(pcm) - 0.3 * RATE
    assert first - 0.45 * RATE < started.sample <= first
    assert abs(ended.last_speech_sample - last) < 0.13 * RATE
    assert ended.decided_sample - last < 0.6 * RATE


def hall_of_voices(seconds, seed=0):
    return babble([load_audio(path)[0] for path in QUESTIONS], seconds, np.random.default_rng(seed), voices=10)


@pytest.mark.parametrize("level", [-50.0, -38.0, -26.0])
def test_babble_alone_is_no_utterance(level):
    assert heard(at_level(hall_of_voices(20.0), level)) == []


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_in_a_hall_begins_and_ends_where_it_does(path):
    pcm = load_audio(path)[0][int(0.3 * RATE) : -int(0.3 * RATE)]
    hall = at_level(hall_of_voices(8.0), -36)
    hall[4 * RATE : 4 * RATE + len(pcm)] += at_level(pcm, -26)
    (started,), (ended,) = (kinds(heard(hall), kind) for kind in (SpeechStarted, SpeechEnded))
    assert started.first == pytest.approx(4 * RATE, abs=0.15 * RATE)
    assert ended.last_speech_sample == pytest.approx(4 * RATE + len(pcm), abs=0.3 * RATE)


def noises():
    rng = np.random.default_rng(1)
    t = np.arange(6 * RATE) / RATE
    clicks = np.zeros(6 * RATE)
    clicks[::4000] = 0.9
    brown = np.cumsum(rng.normal(0, 1, len(t)))
    brown -= np.convolve(brown, np.ones(800) / 800, "same")
    notes = 2 ** (rng.integers(0, 24, 24) / 12) * 220
    melody = np.concatenate([np.sin(2 * np.pi * note * t[:4000]) * np.exp(-t[:4000] * 8) for note in notes])
    return {
        "silence": np.zeros_like(t),
        "faint noise": rng.normal(0, 0.001, len(t)),
        "white noise": rng.normal(0, 0.1, len(t)),
        "brown noise": 0.3 * brown / np.abs(brown).max(),
        "clicks": clicks,
        "hum": 0.3 * np.sin(2 * np.pi * 50 * t) + 0.1 * np.sin(2 * np.pi * 150 * t),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * t),
        "melody": 0.5 * melody,
        "claps": np.where((t % 0.7) < 0.02, rng.normal(0, 0.4, len(t)), 0),
    }


@pytest.mark.parametrize("name", noises())
def test_silero_takes_no_noise_for_speech(name):
    assert heard(noises()[name]) == []


def test_silero_needs_no_torch_and_no_network():
    code = (
        "import sys, socket, numpy as np\n"
        "from demo.voice_activity import SileroDetector\n"
        "before = 'torch' in sys.modules\n"
        "socket.socket = None\n"
        "assert SileroDetector().probability(np.zeros(512, np.float32)) < 0.1\n"
        "assert 'silero_vad' not in sys.modules and ('torch' in sys.modules) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


@pytest.mark.skipif(importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed")
def test_our_silero_is_the_packages_own():
    torch = pytest.importorskip("torch")
    from silero_vad import load_silero_vad

    theirs, ours = load_silero_vad(), SileroDetector()
    for pcm in cut(load_audio(QUESTIONS[0])[0]):
        assert ours.probability(pcm) == pytest.approx(theirs(torch.from_numpy(pcm.copy()), RATE).item(), abs=1e-4)
