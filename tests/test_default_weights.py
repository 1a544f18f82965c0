"""The weights that are shipped: they fit the shipped face, stream exactly, articulate and keep still in silence."""

import numpy as np
import pytest

from streamingtalker.audio import RATE, Resampler
from streamingtalker.checkpoint import load_talker
from streamingtalker.data.speakers import Manner, speaker
from streamingtalker.generate import DEFAULT_WEIGHTS
from streamingtalker.metrics import mouth_opening
from streamingtalker.streamer import FaceStreamer
from streamingtalker.topology import load_topology


@pytest.fixture(scope="module")
def talker():
    return load_talker(DEFAULT_WEIGHTS)


def babble(seconds: float) -> np.ndarray:
    """A buzz through two wandering resonances, syllables of a quarter second."""
    rate, random = 16000, np.random.default_rng(0)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    harmonics = np.arange(1, 40)[:, None]
    formants = 500 + 250 * np.sin(2 * np.pi * 1.3 * time), 1500 + 600 * np.sin(2 * np.pi * 0.9 * time)
    gains = sum(1 / (1 + ((harmonics * pitch - formant) / 120) ** 2) for formant in formants)
    voice = (gains * np.sin(harmonics * 2 * np.pi * np.cumsum(pitch) / rate)).sum(0)
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) ** 0.5
    return (0.05 * voice * syllables + 0.001 * random.normal(size=len(time))).astype(np.float32)


def test_they_are_small_and_fit_the_shipped_face(talker):
    face = load_topology()
    assert DEFAULT_WEIGHTS.stat().st_size < 30e6
    assert talker.topology.name == face.name
    np.testing.assert_allclose(talker.topology.template, face.template, atol=1e-6)
    np.testing.assert_array_equal(talker.topology.faces, face.faces)
    np.testing.assert_array_equal(talker.topology.lip_pairs, face.lip_pairs)


def test_the_mouth_moves_with_a_voice_and_rests_in_silence(talker):
    pcm = np.concatenate([np.zeros(16000, np.float32), babble(3), np.zeros(24000, np.float32)])
    face = talker.topology
    offsets = np.concatenate(list(FaceStreamer(talker).stream([pcm])))
    opening = 1000 * mouth_opening(face.template + offsets, face.lip_pairs).mean(1)
    speaking = opening[33:117]
    assert speaking.max() > 4 and speaking.std() > 1
    assert opening[5:25].max() < 1.5 and opening[-25:].max() < 1.5


def test_pieces_equal_the_whole_with_the_real_recogniser(talker):
    pcm = babble(2.5)
    streamer = FaceStreamer(talker, seed=5)
    whole = np.concatenate([streamer.feed(pcm), streamer.finish()])
    streamer.reset()
    cuts = np.sort(np.random.default_rng(1).integers(0, len(pcm), 20))
    pieces = [streamer.feed(piece) for piece in np.split(pcm, cuts)]
    np.testing.assert_allclose(np.concatenate([*pieces, streamer.finish()]), whole, atol=1e-5)


SENTENCES = (
    "My mother bought a big purple box of plums for Bob.",
    "I am happy that the boys came back from the park by bus.",
    "Papa built a small house above the river, and people applaud.",
)
SHUT, OPEN = 1.5, 4.0  # mm between the lips, mean of five pairs


def opening_at_phones(talker, text: str) -> list[tuple[str, np.ndarray]]:
    """The phones of ``text`` spoken by hibari, each with the opening [3] in mm at its middle frame and those beside."""
    speech = speaker("hibari").speak(text, Manner())
    resampler = Resampler(speech.rate, RATE)
    pieces = [resampler.feed(speech.pcm), resampler.finish()]
    face = talker.topology
    offsets = np.concatenate(list(FaceStreamer(talker).stream(pieces)))
    opening = 1000 * mouth_opening(face.template + offsets, face.lip_pairs).mean(1)
    middles = [round((phone.start + phone.end) / 2 * talker.dims.fps) for phone in speech.phones]
    return [
        (phone.name, opening[max(middle - 1, 0) : middle + 2])
        for phone, middle in zip(speech.phones, middles, strict=True)
    ]


def test_lips_shut_for_m_b_p_and_open_for_wide_vowels(talker):
    pytest.importorskip("onnx", reason="hibari's phone times need onnx, see the extra 'research'")
    pytest.importorskip("hama", reason="the figures are those with the phoneme recogniser; Windows has none")
    heard = [each for text in SENTENCES for each in opening_at_phones(talker, text)]
    shut = [opening.min() < SHUT for phone, opening in heard if phone in ("m", "b", "p")]
    wide = [opening.max() > OPEN for phone, opening in heard if phone in ("aa", "ae", "ao", "ay")]
    assert len(shut) > 25 and np.mean(shut) >= 0.9
    assert len(wide) > 10 and np.mean(wide) >= 0.8
