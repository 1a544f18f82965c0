"""Recordings, sample rates, features and encoders."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker.audio import AudioError, Resampler, load_audio, load_pcm
from streamingtalker.audio.encoder import build_encoder
from streamingtalker.audio.mel import LogMelStream, column_centre
from streamingtalker.audio.posteriors import DEFAULT_GRID, PosteriorStream, open_recogniser
from streamingtalker.config import AudioDims, ConfigError
from tests.conftest import fake_recogniser


def tone(seconds: float, rate: int, hertz: float = 440) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
def test_files_of_every_kind_are_read(tmp_path, name):
    soundfile.write(tmp_path / name, np.stack([tone(1, 48000), np.zeros(48000)], 1), 48000)
    pcm, rate = load_audio(tmp_path / name)
    assert rate == 48000 and pcm.dtype == np.float32 and pcm.ndim == 1
    assert len(pcm) == pytest.approx(48000, abs=2400)
    assert np.abs(pcm).max() == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_sample_formats(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(0.1, 8000), 8000, subtype=subtype)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav")[0], tone(0.1, 8000), atol=0.01)


def test_whatever_its_rate_a_recording_is_heard_at_the_models(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 44100), 44100)
    pcm = load_pcm(tmp_path / "a.wav")
    assert len(pcm) == 8000
    np.testing.assert_allclose(pcm[200:-200], tone(0.5, 16000)[200:-200], atol=0.01)


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_recording_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(0.1, 16000), 16000)
    with pytest.raises(AudioError, match=r"a\.wav (cannot be read|does not exist)"):
        load_audio(tmp_path / f"{'a' * 300}.wav")
    monkeypatch.setattr(Path, "open", refuse)  # who runs the tests may be allowed everything
    with pytest.raises(AudioError, match=r"a\.wav cannot be read \(Permission denied\); check"):
        load_audio(tmp_path / "a.wav")


def broken(tmp_path, kind):
    path = tmp_path / "a.wav"
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "no samples":
        soundfile.write(path, np.zeros(0), 16000)
    if kind == "not audio":
        path.write_bytes(b"once upon a time " * 40)
    if kind in ("cut off", "cut in the header"):
        soundfile.write(path, tone(1, 16000), 16000)
        path.write_bytes(path.read_bytes()[: 9000 if kind == "cut off" else 20])
    if kind == "not numbers":
        soundfile.write(path, np.full(100, np.nan, np.float32), 16000, subtype="FLOAT")
    if kind == "cut off FLAC":
        path = tmp_path / "a.flac"
        soundfile.write(path, np.random.default_rng(0).normal(size=48000) * 0.1, 16000)
        path.write_bytes(path.read_bytes()[:20000])
    return path


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty", "no samples", "not audio", "cut off", "cut in the header", "not numbers", "cut off FLAC"],
)
def test_unusable_files_are_named(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(AudioError, match=path.name) as error:
        load_audio(path)
    assert "\n" not in str(error.value)


def test_too_long_a_file_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 800)
    with pytest.raises(AudioError, match="10 s"):
        load_audio(tmp_path / "a.wav", max_seconds=9)


@pytest.mark.parametrize("rate", [8000, 24000, 44100, 48000])
def test_chopping_does_not_change_the_resampled_sound(rate):
    pcm = tone(0.7, rate)
    whole = Resampler(rate, 16000)
    expected = np.concatenate([whole.feed(pcm), whole.finish()])
    assert len(expected) == pytest.approx(0.7 * 16000, abs=1)
    pieces = Resampler(rate, 16000)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(pcm), 50))
    chopped = [pieces.feed(piece) for piece in np.split(pcm, cuts)]
    np.testing.assert_allclose(np.concatenate([*chopped, pieces.finish()]), expected, atol=1e-6)
    np.testing.assert_allclose(expected[500:-500], tone(0.7, 16000)[500 : len(expected) - 500], atol=1e-3)


def test_equal_rates_pass_through():
    same = Resampler(16000, 16000)
    np.testing.assert_array_equal(same.feed(tone(0.1, 16000)), tone(0.1, 16000))
    assert len(same.finish()) == 0


def test_columns_lie_around_the_motion_frames():
    assert [column_centre(3 * frame + 1) for frame in (0, 1, 2, 3, 300)] == [0, 533, 1067, 1600, 160000]


def test_a_tone_lights_its_mel_band():
    low, high = (LogMelStream(64).feed(tone(0.2, 16000, hertz))[5] for hertz in (300, 3000))
    assert low.argmax() < 12 and 30 < high.argmax() < 50
    assert np.abs(LogMelStream(64).feed(np.zeros(4000, np.float32))).max() < 3


def test_windows_tile_the_clip_and_do_not_depend_on_the_chopping():
    edges = [DEFAULT_GRID.window(i) for i in range(4)]
    assert [a for a, _ in edges[1:]] == [b for _, b in edges[:-1]] and edges[0] == (0, 6400)
    pcm = np.random.default_rng(0).normal(size=40000).astype(np.float32)
    whole, pieces = PosteriorStream(fake_recogniser(), 5), PosteriorStream(fake_recogniser(), 5)
    expected = np.concatenate([whole.feed(pcm), whole.finish()])
    chopped = [pieces.feed(piece) for piece in np.array_split(pcm, 77)]
    assert expected.shape == (125, 5)
    np.testing.assert_array_equal(np.concatenate([*chopped, pieces.finish()]), expected)
    np.testing.assert_allclose((expected**2).sum(1), 1, atol=1e-5)


def test_the_real_recogniser_hears_vowels():
    pytest.importorskip("hama")
    scores = open_recogniser("hama")(tone(0.5, 16000))
    assert scores.shape[1] == 191 and len(scores) >= 25
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-4)


def test_without_a_recogniser_posteriors_are_zeros():
    silent = PosteriorStream(open_recogniser("none"), 191)
    assert not silent.feed(tone(0.5, 16000)).any()


def test_hubert_behind_the_same_interface():
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    tiny |= {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    encoder = build_encoder(AudioDims(kind="hubert", width=12, hubert=tiny), fps=30).eval()
    pcm = tone(1.1, 16000)
    with torch.no_grad():
        whole = encoder(torch.from_numpy(encoder.features(pcm))[None])[0]
        stream = encoder.stream()
        assert len(stream.feed(pcm[:5000])) == 0
        stream.feed(pcm[5000:])
        frames = stream.finish()
    assert whole.shape == (33, 12)
    torch.testing.assert_close(frames, whole)


def test_a_frame_rate_the_speech_encoder_does_not_have_is_named():
    with pytest.raises(ConfigError, match="30 frames a second, not 25"):
        build_encoder(AudioDims(), fps=25)


def test_an_unknown_encoder_is_named():
    with pytest.raises(ConfigError, match="whisper"):
        build_encoder(AudioDims(kind="whisper"), fps=30)


def test_a_damaged_header_is_refused_or_read_but_never_crashes(tmp_path):
    path = tmp_path / "damaged.wav"
    soundfile.write(path, np.zeros(800, np.float32), 16_000)
    whole = path.read_bytes()
    for position in range(44):
        for bit in (0x01, 0x10, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= bit
            path.write_bytes(damaged)
            with contextlib.suppress(AudioError):
                load_audio(path)
