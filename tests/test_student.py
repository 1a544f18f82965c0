"""Our own small phoneme recogniser: its network, its file, how it is taught and when it is used."""

import dataclasses
import json
import logging
import sys

import numpy as np
import pytest
import soundfile
import torch

from streamingtalker.audio.mel import column_centre, mel_filterbank
from streamingtalker.audio.posteriors import HOP, PosteriorStream, RecogniserError, open_recogniser
from streamingtalker.audio.student import (
    DEFAULT_STUDENT,
    Student,
    StudentDims,
    StudentRecogniser,
    load_student,
    log_mel,
    power_spectrum,
    save_student,
    student_version,
)
from streamingtalker.config import AudioDims, ConfigError
from streamingtalker.data.dataset import Corpus
from streamingtalker.data.phones import INVENTORY
from streamingtalker.tensor_file import CheckpointError, write_tensors
from streamingtalker.training.distil import (
    BATCH_FRAMES,
    Classroom,
    Lesson,
    agreement,
    agreement_by_voice,
    divergence,
    hear,
    load_lesson,
    teacher_frames,
    train_student,
)
from streamingtalker.training.loop import Budget, LoopOptions, progress_bar

TINY = StudentDims(bands=16, classes=5, width=16, dilations=(1, 2))


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """A gliding tone with noise."""
    time = np.arange(int(seconds * 16000)) / 16000
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.3 * np.sin(2 * np.pi * (300 + 400 * time) * time) + 0.02 * noise).astype(np.float32)


def tiny_lessons(clips: int = 4) -> list[Lesson]:
    """Tones, low and high by turns; the teacher calls low ones class 0, high ones class 1, edges blank."""
    lessons = []
    for clip in range(clips):
        classes = np.arange(150) // 15 % 2
        pitch = np.repeat(np.where(classes, 2500, 400), HOP)
        pcm = 8000 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000 + clip)
        taught = np.eye(5, dtype=np.float16)[np.where(np.arange(150) % 15 < 3, 4, classes)]
        lessons.append(Lesson(f"voice{clip % 2}", pcm.astype(np.int16), taught, (1 + classes).astype(np.int8)))
    return lessons


@pytest.mark.parametrize("samples", [0, 319, 320, 6400, 25600, 25919])
def test_a_frame_for_every_hop(samples):
    scores = StudentRecogniser(Student(TINY).eval())(sound(2)[:samples])
    assert scores.shape == (samples // HOP, 5) and scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-5)


def test_columns_lie_around_their_samples():
    click = torch.zeros(1, 6400)
    click[0, 3200] = 1
    power = power_spectrum(click).sum(2)[0]
    assert power.shape == (40,) and int(power.argmax()) == 3200 // 160
    mel = log_mel(power_spectrum(click), torch.from_numpy(mel_filterbank(16)))
    assert mel.shape == (1, 20, 32)


def test_a_stretched_filterbank_hears_higher_and_keeps_its_ends():
    plain, stretched = mel_filterbank(40), mel_filterbank(40, 1.2)
    centre, higher = (bank[:, 12] @ np.arange(257) / bank[:, 12].sum() for bank in (plain, stretched))
    assert higher == pytest.approx(1.2 * centre, rel=0.05)
    for stretch in (0.8, 1.2):
        bank = mel_filterbank(40, stretch)
        assert np.isfinite(bank).all() and (bank.sum(0) > 0).all()


def test_any_chopping_gives_the_same_posteriors():
    recogniser, pcm = StudentRecogniser(Student(TINY).eval()), sound(2.3)
    whole, pieces = PosteriorStream(recogniser, 5), PosteriorStream(recogniser, 5)
    expected = np.concatenate([whole.feed(pcm), whole.finish()])
    chopped = [pieces.feed(piece) for piece in np.array_split(pcm, 41)]
    np.testing.assert_array_equal(np.concatenate([*chopped, pieces.finish()]), expected)


def test_a_file_gives_the_student_back(tmp_path):
    student = Student(TINY).eval()
    save_student(tmp_path / "a.safetensors", student, {"seed": 3})
    again = load_student(tmp_path / "a.safetensors")
    assert again.dims == TINY
    np.testing.assert_allclose(StudentRecogniser(again)(sound(1)), StudentRecogniser(student)(sound(1)), atol=0.02)


def test_a_student_taught_anew_is_another_version(tmp_path):
    student, path = Student(TINY).eval(), tmp_path / "a.safetensors"
    save_student(path, student)
    first = student_version(path)
    save_student(path, student)
    assert student_version(path) == first and len(first) == 8
    with torch.no_grad():
        student.out.bias += 1
    save_student(path, student)
    assert student_version(path) != first


def test_a_sharp_student_is_surer_of_the_same():
    student = Student(TINY).eval()
    sharp = Student(dataclasses.replace(TINY, sharpness=2.0)).eval()
    sharp.load_state_dict(student.state_dict())
    mild, sure = (np.exp(StudentRecogniser(each)(sound(1))) for each in (student, sharp))
    np.testing.assert_array_equal(mild.argmax(1), sure.argmax(1))
    assert (sure.max(1) > mild.max(1)).all()
    np.testing.assert_allclose(sure.sum(1), 1, atol=1e-5)


def test_files_that_do_not_fit_are_named(tmp_path):
    student, path = Student(TINY), tmp_path / "b.safetensors"
    with pytest.raises(CheckpointError, match=r"b\.safetensors does not exist"):
        load_student(path)
    tensors = {name: value.numpy() for name, value in student.state_dict().items()}
    wider = dataclasses.asdict(dataclasses.replace(TINY, width=24))
    write_tensors(path, tensors, kind="recogniser", metadata={"dims": wider})
    with pytest.raises(CheckpointError, match=r"b\.safetensors does not fit"):
        load_student(path)
    write_tensors(path, tensors, kind="recogniser", metadata={"dims": {"ears": 2}})
    with pytest.raises(ConfigError, match="ears"):
        load_student(path)


def test_the_shipped_student_is_small_and_has_the_teachers_classes():
    assert DEFAULT_STUDENT.stat().st_size <= 6e6
    scores = open_recogniser("student")(sound(1))
    assert scores.shape == (50, AudioDims().posterior_classes) and np.isfinite(scores).all()


def test_the_shipped_student_hears_what_the_large_one_hears():
    pytest.importorskip("hama")
    pcm = np.concatenate([voiced(hertz) for hertz in (120, 150, 180)])
    large, small = (open_recogniser(name)(pcm)[:75] for name in ("hama", "student"))
    heard = np.exp(0.5 * (large + small)).sum(1)  # Bhattacharyya: 1 where both are sure of the same
    assert heard.mean() > 0.6


def voiced(hertz: float) -> np.ndarray:
    """Half a second of a buzz with the formants of 'ah' that begins and ends softly."""
    time = np.arange(8000) / 16000
    harmonics = np.arange(1, int(4000 / hertz)) * hertz
    gains = sum(np.exp(-(((harmonics - formant) / 150) ** 2)) for formant in (700, 1200, 2500))
    buzz = (gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
    return (0.1 * buzz * np.sin(np.pi * time / 0.5)).astype(np.float32)


def test_the_student_stands_in_where_hama_does_not_exist(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "hama", None)
    with caplog.at_level(logging.WARNING):
        recogniser = open_recogniser()
    assert "hama does not exist here" in caplog.text
    np.testing.assert_array_equal(recogniser(sound(1)), open_recogniser("student")(sound(1)))
    with pytest.raises(RecogniserError, match="choose the recogniser 'student'"):
        open_recogniser("hama")


def test_recognisers_by_name():
    assert open_recogniser("none") is None
    with pytest.raises(RecogniserError, match="'whisper' does not exist; choose hama, student, none"):
        open_recogniser("whisper")


def test_the_teachers_frames_come_back_from_their_interpolation():
    frames = np.random.default_rng(0).uniform(size=(60, 3))
    positions = np.array([max(column_centre(column), 0) / HOP for column in range(100)])
    columns = np.stack([np.interp(positions, np.arange(60), each) for each in frames.T], axis=1)
    found = teacher_frames(columns)
    assert len(found) == 50
    np.testing.assert_allclose(found, frames[:50], atol=0.01)


def test_a_lesson_lays_sound_posteriors_and_phones_side_by_side(tmp_path):
    dims = AudioDims(mel_bands=4, posterior_classes=3)
    entry = {"name": "a", "voice": "v", "style": 0, "split": "train", "seconds": 2.0}
    (tmp_path / "corpus.json").write_text(json.dumps({"clips": [entry], "fps": 30, "styles": ["calm"]}))
    for folder in ("wav", "phones"):
        (tmp_path / folder).mkdir()
    soundfile.write(tmp_path / "wav/a.wav", sound(2), 16000)
    spoken = [{"phone": "sil", "start": 0, "end": 1.0}, {"phone": "m", "start": 1.0, "end": 1.9}]
    (tmp_path / "phones/a.json").write_text(json.dumps(spoken))
    corpus = Corpus(tmp_path)
    features = corpus.features_file(corpus.clips[0], dims, "hama")
    features.parent.mkdir(parents=True)
    np.save(features, np.tile(np.array([0, 0, 0, 0, 0.6, 0, 0.8], np.float16), (198, 1)))
    lesson = load_lesson(corpus, corpus.clips[0], dims)
    assert len(lesson.pcm) == 320 * len(lesson.phones) and len(lesson.taught) == len(lesson.phones) == 100
    np.testing.assert_allclose(lesson.taught[50], [0.6, 0, 0.8], atol=1e-3)
    assert [INVENTORY[lesson.phones[i]] for i in (0, 49, 50, 94)] == ["sil", "sil", "m", "m"]
    assert lesson.phones[96] == -1


def test_batches_are_windows_of_a_stream_distorted():
    batches = iter(Classroom(tiny_lessons(), TINY, seed=0))
    lengths = set()
    for _ in range(8):
        batch = next(batches)
        windows, frames, _ = batch.mel.shape
        lengths.add(frames)
        assert windows == BATCH_FRAMES // frames and batch.mel.shape[2] == 2 * TINY.bands
        assert torch.isfinite(batch.mel).all()
        torch.testing.assert_close(batch.taught.sum(2), torch.ones(windows, frames))
        assert batch.phones.shape == (windows, frames)
    assert max(lengths) == 80 and lengths <= {80, 60, 30}


def test_the_same_seed_gives_the_same_batches():
    first, second, other = (next(iter(Classroom(tiny_lessons(), TINY, seed=seed))) for seed in (1, 1, 2))
    torch.testing.assert_close(first.mel, second.mel)
    assert first.mel.shape != other.mel.shape or not torch.allclose(first.mel, other.mel)


def test_the_divergence_is_zero_for_what_was_taught_and_counts_blanks_less():
    taught = torch.tensor([[[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]])
    assert float(divergence(taught.clamp_min(1e-8).log(), taught)) == pytest.approx(0, abs=1e-5)
    wrong = torch.full((1, 2, 3), 1 / 3).log()
    phone_wrong, blank_wrong = (taught.clamp_min(1e-8).log().clone() for _ in range(2))
    phone_wrong[0, 0], blank_wrong[0, 1] = wrong[0, 0], wrong[0, 1]
    weighted_phone = float(divergence(phone_wrong, taught)) / float((taught[0, 0] * (taught[0, 0] * 3).log()).sum())
    weighted_blank = float(divergence(blank_wrong, taught)) / np.log(3)
    assert weighted_phone > 3 * weighted_blank > 0


def test_agreement_with_oneself_and_with_the_deaf():
    lessons = tiny_lessons(2)
    deaf = agreement(lambda pcm: np.log(np.tile([[1e-3] * 4 + [0.996]], (len(pcm) // HOP, 1))), lessons)
    assert deaf.same == deaf.within == 0 and deaf.kl > 3 and deaf.frames == 300
    student = StudentRecogniser(Student(TINY).eval())
    itself = [dataclasses.replace(lesson, taught=hear(student, lesson)) for lesson in lessons]
    spoken = [lesson for lesson in itself if (lesson.taught.argmax(1) != 4).any()]
    figures = agreement(student, spoken)
    assert figures.same == figures.within == 1 and figures.kl == pytest.approx(0, abs=1e-3)
    assert set(agreement_by_voice(student, itself, {"voice0"})) == {"seen voices", "voice1"}


def test_a_student_learns():
    lessons = tiny_lessons()
    with progress_bar() as bar:
        student, steps = train_student(lessons, TINY, Budget(steps=60), LoopOptions(rate=5e-3), 0, bar)
    learnt, fresh = (agreement(StudentRecogniser(each), lessons) for each in (student, Student(TINY).eval()))
    assert steps == 60
    assert student.dims.sharpness > 1
    assert learnt.within > 0.8
    assert learnt.kl < 0.8 * fresh.kl


def test_windows_heard_together_are_heard_as_if_alone():
    recogniser = StudentRecogniser(Student(TINY).eval())
    windows = np.stack([sound(1.6, seed) for seed in range(3)])
    alone = np.stack([recogniser(window) for window in windows])
    np.testing.assert_allclose(recogniser.together(windows), alone, atol=1e-4)
