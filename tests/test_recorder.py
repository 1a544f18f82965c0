"""Films: equally long, at a constant rate, in step, and whole whatever happens."""

import threading

import av
import numpy as np
import pytest

from demo.recorder import Recorder, RecorderError

RATE = 24000


def picture(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def read(path):
    """Brightness of every frame, the sound, and the durations of video and audio in seconds."""
    with av.open(str(path)) as film:
        assert [stream.codec_context.name for stream in film.streams] == ["h264", "aac"]
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"
        durations = [float(stream.duration * stream.time_base) for stream in film.streams]
        frames = [frame.to_ndarray(format="gray").mean() for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    return np.array(frames), sound, durations


def record(path, seconds: float, fps: float, jitter: float = 0.0) -> Recorder:
    rng = np.random.default_rng(0)
    with Recorder(path, (64, 48), RATE) as film:
        for _ in range(round(seconds * 100)):
            film.audio(np.full(RATE // 100, 0.1, np.float32))
        for index in range(round(seconds * fps)):
            while film._pictures > 6:  # the test has no clock: it waits for the encoder
                threading.Event().wait(0.002)
            film.video(picture(20 + 2 * index % 200), (index + rng.uniform(-jitter, jitter)) / fps)
    assert film.dropped == 0
    return film


@pytest.mark.parametrize(("fps", "seconds"), [(30, 2.0), (17, 2.31), (60, 1.0)])
def test_video_and_audio_are_equally_long(tmp_path, fps, seconds):
    record(tmp_path / "film.mp4", seconds, fps)
    frames, sound, (video, audio) = read(tmp_path / "film.mp4")
    assert abs(video - audio) < 0.05 and video == pytest.approx(seconds, abs=0.05)
    assert len(frames) == pytest.approx(30 * seconds, abs=1)
    assert len(sound) / RATE == pytest.approx(seconds, abs=0.1)


def test_jitter_neither_drops_nor_doubles_pictures(tmp_path):
    record(tmp_path / "film.mp4", 3.0, 30, jitter=0.3)
    frames, _, _ = read(tmp_path / "film.mp4")
    steps = np.diff(frames[:88])
    assert steps.min() > 0.5 and steps.max() < 3.5  # each picture is about 2 brighter than the one before


def test_a_picture_stands_until_the_next_and_before_the_first_it_is_dark(tmp_path):
    with Recorder(tmp_path / "film.mp4", (64, 48), RATE) as film:
        film.video(picture(200), 0.5)
        film.video(picture(100), 1.0)
        film.audio(np.zeros(int(1.5 * RATE), np.float32))
    frames, _, _ = read(tmp_path / "film.mp4")
    assert len(frames) == 45
    assert frames[:15].max() < 30 and frames[15:30].min() > 150 and 60 < frames[31:].mean() < 130


def test_flash_and_beep_stay_together(tmp_path):
    beep = np.zeros(3 * RATE, np.float32)
    for second in range(1, 3):
        beep[second * RATE : second * RATE + 1200] = 0.5
    with Recorder(tmp_path / "film.mp4", (64, 48), RATE) as film:
        film.audio(beep)
        for index in range(90):
            while film._pictures > 6:
                threading.Event().wait(0.002)
            film.video(picture(220 if index % 30 < 2 and index >= 30 else 20), index / 30)
    frames, sound, _ = read(tmp_path / "film.mp4")
    flashes = np.flatnonzero((frames[1:] > 120) & (frames[:-1] <= 120)) / 30 + 1 / 30
    loud = np.abs(sound) > 0.2
    onsets = np.flatnonzero(loud & ~np.roll(loud, 1))
    onsets = onsets[np.diff(onsets, prepend=-RATE) > RATE // 2] / RATE
    np.testing.assert_allclose(flashes, [1, 2], atol=1e-6)
    np.testing.assert_allclose(onsets, flashes, atol=0.01)


def test_other_sizes_are_fitted_and_odd_ones_made_even(tmp_path):
    with Recorder(tmp_path / "film.mp4", (63, 47), RATE) as film:
        film.video(picture(100, 128, 64), 0.0)
        film.video(picture(100, 31, 99), 0.1)
        film.audio(np.zeros(RATE // 2, np.float32))
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (64, 48)


def test_the_film_is_whole_after_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "film.mp4", (64, 48), RATE) as film:
        film.video(picture(100), 0.0)
        film.audio(np.zeros(RATE, np.float32))
        raise ZeroDivisionError
    frames, _, (video, audio) = read(tmp_path / "film.mp4")
    assert len(frames) == 30 and abs(video - audio) < 0.05


def test_whoever_films_is_never_kept_waiting(tmp_path):
    """Far more pictures than the encoder can take: some are dropped, none waits, the length is right."""
    film = Recorder(tmp_path / "film.mp4", (320, 240), RATE)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for index in range(300):
        film.video(noise, index / 30)
    film.audio(np.zeros(10 * RATE, np.float32))
    film.close()
    frames, _, _ = read(tmp_path / "film.mp4")
    assert film.dropped > 0 and len(frames) == 300


def test_closing_twice_and_filming_afterwards_do_no_harm(tmp_path):
    film = Recorder(tmp_path / "film.mp4", (64, 48), RATE)
    film.close()
    film.close()
    film.video(picture(1), 0.0)
    film.audio(np.zeros(10, np.float32))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecorderError, match=r"film\.mp4 cannot be written.*another path"):
        Recorder(tmp_path / "file" / "film.mp4", (64, 48), RATE)


def test_an_older_film_stands_until_the_new_one_is_finished(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older")
    with Recorder(path, (64, 48), RATE) as film:
        film.audio(np.zeros(RATE, np.float32))
        assert path.read_bytes() == b"older"
    assert read(path)[2] == pytest.approx([1.0, 1.0], abs=0.05)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
