import builtins

import numpy as np
import pytest
import soxr

from demo.acoustics import Room, RoomMicrophone, at_level, level_db
from demo.echo import FRAME, CleanMicrophone, EchoError, Played, WebRtc, find_echo
from demo.microphone import BLOCK, RATE, AudioBlock
from streamingtalker.audio import load_audio
from tests.test_listener import FRANCE, WHO


def speech(seconds):
    return np.resize(np.concatenate([load_audio(FRANCE)[0], load_audio(WHO)[0]]), int(seconds * RATE))


class Microphone:
    """Hears ``pcm``; its samples have their times, give or take ``jitter`` seconds, and are off by ``drift``."""

    name = "fake"

    def __init__(self, pcm, jitter=0.0, drift=0.0, late=0.0):
        self.pcm, self.jitter, self.drift, self.late = pcm, jitter, drift, late

    def open(self):
        pass

    def close(self):
        pass

    def blocks(self):
        rng = np.random.default_rng(1)
        for first in range(0, len(self.pcm) - BLOCK + 1, BLOCK):
            time = 100 + (first + BLOCK) / RATE * (1 + self.drift) + self.late + rng.uniform(0, self.jitter or 1e-9)
            yield AudioBlock(self.pcm[first : first + BLOCK], first, time)


def play(pcm, rate=RATE, block=160, jitter=0.0):
    """All of ``pcm`` played from 100 s on."""
    played, rng = Played(rate, seconds=30.0), np.random.default_rng(2)
    for first in range(0, len(pcm), block):
        played.add(pcm[first : first + block], 100 + first / rate + rng.uniform(0, jitter or 1e-9))
    return played


class Late:
    """A processor that keeps what it gets and gives it back 100 samples late."""

    delay = 100

    def __init__(self):
        self.heard, self.played = np.zeros(100, np.float32), np.zeros(0, np.float32)

    def process(self, heard, played):
        self.heard, self.played = np.concatenate([self.heard, heard]), np.concatenate([self.played, played])
        return self.heard[-260:-100], -self.heard[-260:-100]


def cleaned(microphone, played, processor=None):
    clean = CleanMicrophone(microphone, played, processor)
    clean.open()
    blocks = list(clean.blocks())
    return blocks, np.concatenate([block.pcm for block in blocks])


def test_what_was_played_is_found_by_the_moment_it_was_heard():
    sound = np.sin(np.arange(2 * 48000) * 2 * np.pi * 300 / 48000).astype(np.float32)
    played = play(sound, rate=48000, block=480)
    got = played.heard(100.5, 1600)
    np.testing.assert_allclose(got, sound[24000 : 24000 + 4800 : 3], atol=0.01)
    assert not played.heard(95.0, 100).any() and not played.heard(200.0, 100).any()


def test_who_plays_on_while_nobody_listens_keeps_a_few_seconds_and_they_are_found_by_their_moment():
    sound = np.sin(np.arange(100 * RATE) * 2 * np.pi * 300 / RATE * np.linspace(1, 2, 100 * RATE)).astype(np.float32)
    played = Played(RATE)
    for first in range(0, len(sound), 160):
        played.add(sound[first : first + 160], 100 + first / RATE)
        if first == 10 * RATE:
            played.heard(105.0, 160)
    assert len(played._blocks) * 160 / RATE < 20
    np.testing.assert_allclose(played.heard(197.0, 1600), sound[97 * RATE :][:1600], atol=1e-6)
    played.add(sound[:160], 200.0)
    np.testing.assert_allclose(played.heard(200.0, 160), sound[:160], atol=1e-6)


def test_every_block_heard_makes_one_block_whose_samples_have_their_times():
    pcm = speech(2.0)
    blocks, _ = cleaned(Microphone(pcm), play(pcm), Late())
    assert len(blocks) == len(pcm) // BLOCK and {len(block.pcm) for block in blocks} == {BLOCK}
    for block in blocks[2:]:
        np.testing.assert_array_equal(block.pcm, pcm[block.position : block.end])
        np.testing.assert_array_equal(block.clear, -block.pcm)
        assert block.time == pytest.approx(100 + block.end / RATE)


def test_the_reference_is_a_little_early_and_without_gap_or_overlap():
    pcm, processor = speech(3.0), Late()
    cleaned(Microphone(pcm, jitter=0.004), play(pcm, jitter=0.004), processor)
    lag = int(find_echo(processor.played[:RATE], pcm[:RATE]) * RATE)
    assert 0 < lag < 0.02 * RATE
    middle = processor.played[RATE : 2 * RATE]
    start = RATE - lag + int(np.argmax([np.dot(middle, pcm[RATE + k : 2 * RATE + k]) for k in range(-100, 500)]))
    assert np.abs(middle - pcm[start + lag - 100 : start + lag - 100 + RATE]).max() < 0.2


def test_webrtc_is_as_late_as_it_says():
    pcm, webrtc = speech(2.0), WebRtc()
    silence = np.zeros(FRAME, np.float32)
    got = [webrtc.process(pcm[k : k + FRAME], silence) for k in range(0, len(pcm) - FRAME + 1, FRAME)]
    for way in np.concatenate(got, axis=1):
        sharp = np.correlate(np.diff(way), np.diff(pcm[: len(way)]), "full")  # low tones are later than the rest
        late = int(np.argmax(sharp)) - len(way) + 2
        assert late == pytest.approx(webrtc.delay, abs=2)


@pytest.mark.parametrize("delay", [0.0, 0.08, 0.3])
def test_the_delay_of_an_echo_is_found(delay):
    sound = speech(3.0)
    heard = Room(delay=delay).echo(sound) + np.random.default_rng(0).normal(0, 1e-3, len(sound))
    assert find_echo(sound, heard) == pytest.approx(delay, abs=0.002)


def test_no_echo_is_found_where_there_is_none():
    sound = speech(3.0)
    assert find_echo(sound, np.random.default_rng(0).normal(0, 0.01, len(sound))) is None
    assert find_echo(sound, np.zeros_like(sound)) is None
    assert find_echo(sound, np.ascontiguousarray(sound[::-1])) is None


def quiet_room(seconds):
    return np.random.default_rng(0).normal(0, 10 ** (-65 / 20), int(seconds * RATE)).astype(np.float32)


def test_the_echo_is_gone_and_the_visitor_is_there():
    voice, asked = at_level(speech(8.0), -20), at_level(load_audio(WHO)[0], -28)
    heard = Room().echo(voice) + quiet_room(8.0)
    _, alone = cleaned(Microphone(heard, jitter=0.002), play(voice, jitter=0.002))
    over = heard.copy()
    over[5 * RATE : 5 * RATE + len(asked)] += asked
    _, answered = cleaned(Microphone(over, jitter=0.002), play(voice, jitter=0.002))
    during = slice(5 * RATE, 5 * RATE + len(asked))
    assert level_db(alone[during]) < level_db(heard[during]) - 15
    assert level_db(answered[during]) > level_db(alone[during]) + 20


def test_a_sound_card_that_reports_nonsense_is_corrected(caplog):
    """The microphone's times are 150 ms late: the echo seems to come before the sound."""
    voice = at_level(speech(12.0), -20)
    echo = Room(delay=0.02).echo(voice) + quiet_room(12.0)
    with caplog.at_level("INFO"):
        _, pcm = cleaned(Microphone(echo, late=-0.15), play(voice))
    (corrected,) = [record.args[0] for record in caplog.records if "after the sound cards' reports" in record.msg]
    assert corrected == pytest.approx(-130, abs=5)
    assert level_db(pcm[8 * RATE :]) < level_db(echo[8 * RATE :]) - 15


def test_who_repeats_the_voice_much_later_is_no_echo(caplog):
    """Followed, the reference would soon lie where no measurement finds the true echo again."""
    voice = at_level(speech(24.0), -20)
    repeated = np.concatenate([np.zeros(int(1.2 * RATE), np.float32), voice])[: 12 * RATE]
    echo = Room(delay=0.02).echo(voice)
    heard = np.concatenate([repeated, echo[12 * RATE :]]) + quiet_room(24.0)
    with caplog.at_level("INFO"):
        _, pcm = cleaned(Microphone(heard), play(voice))
    assert not [record for record in caplog.records if "after the sound cards' reports" in record.msg]
    assert level_db(pcm[16 * RATE :]) < level_db(heard[16 * RATE :]) - 15


def test_two_clocks_that_drift_apart_do_not_matter():
    voice = at_level(speech(12.0), -20)
    heard = soxr.resample(Room().echo(voice), RATE, RATE * 1.0002) + quiet_room(12.01)[: round(12.0024 * RATE)]
    _, pcm = cleaned(Microphone(heard, drift=-2e-4), play(voice))
    assert level_db(pcm[4 * RATE :]) < level_db(heard[4 * RATE :]) - 15


def test_a_microphone_in_a_room_hears_what_is_played_and_the_noise():
    voice = at_level(speech(4.0), -20)
    room, noise = Room(), quiet_room(1.0)
    microphone = RoomMicrophone(Microphone(quiet_room(4.0), jitter=0.005), play(voice, jitter=0.005), room, noise)
    pcm = np.concatenate([block.pcm for block in microphone.blocks()])
    assert find_echo(voice[: len(pcm)], pcm) == pytest.approx(room.delay, abs=0.006)
    assert level_db(pcm[RATE:]) == pytest.approx(level_db(voice) + room.echo_db, abs=1.5)
    assert pcm[:1000] == pytest.approx(quiet_room(4.0)[:1000] + noise[:1000])


def test_without_the_library_it_is_said_what_to_do(monkeypatch):
    real = builtins.__import__

    def none(name, *rest):
        if name.startswith("livekit"):
            raise ImportError("No module named 'livekit'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(EchoError, match=r"No module named 'livekit'.*pip install"):
        CleanMicrophone(Microphone(np.zeros(BLOCK, np.float32)), Played(RATE))
