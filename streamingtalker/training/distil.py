"""Teaching our own small phoneme recogniser what the large one hears, from the audio features of a corpus.

The teacher's posteriors were made with the windows of a stream; the student hears windows of the same shape, through
other rooms, microphones and throats than the corpus has: equaliser, noise, a second voice, tempo, vocal tract.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from streamingtalker.audio.encoder import SpeechFeatures
from streamingtalker.audio.mel import WINDOW, mel_filterbank
from streamingtalker.audio.posteriors import DEFAULT_GRID, HOP, PosteriorStream, Recogniser
from streamingtalker.audio.student import Student, StudentDims, log_mel, power_spectrum
from streamingtalker.config import RATE, AudioDims
from streamingtalker.data.augment import SPEECHLESS_VOICE
from streamingtalker.data.dataset import Clip, Corpus, Example
from streamingtalker.data.phones import INVENTORY
from streamingtalker.streaming import whole
from streamingtalker.training.loop import Budget, LoopOptions, fit

TEACHER = "hama"
BLOCK_COLUMNS, BLOCK_FRAMES = 9, 5  # 90 columns a second are 50 frames: the pattern repeats every 0.1 s
FULL = (DEFAULT_GRID.left + DEFAULT_GRID.hop + DEFAULT_GRID.right) // HOP  # frames of a whole window
LENGTHS = {FULL: 0.75, FULL * 3 // 4: 0.15, FULL * 3 // 8: 0.10}  # the first two windows of a clip are shorter
BATCH_FRAMES = 16 * FULL
SHARPNESS = 1.7  # chosen on the validation voice by what the lips do
STUDENT_RATE = 1.5e-3  # peak learning rate
BLANK_WEIGHT = 0.2  # of a frame the teacher calls blank: they are three in four
PHONES_WEIGHT = 0.2  # of the corpus' own phones


@dataclass(frozen=True)
class Lesson:
    """A clip with what the teacher heard in it; n frames of 20 ms."""

    voice: str
    pcm: np.ndarray  # int16 [320·n]
    taught: np.ndarray  # float16 [n, classes], square roots of probabilities
    phones: np.ndarray  # int8 [n], index into INVENTORY, −1 for none


@dataclass(frozen=True)
class LessonBatch:
    """Windows side by side."""

    mel: Tensor  # [B, T, 2·M]
    taught: Tensor  # [B, T, classes] probabilities
    phones: Tensor  # int64 [B, T]

    def to(self, device: torch.device) -> "LessonBatch":
        """The batch on another device."""
        return LessonBatch(self.mel.to(device), self.taught.to(device), self.phones.to(device))


def teacher_frames(columns: np.ndarray) -> np.ndarray:
    """Square roots of posteriors at 90 columns a second [c, classes] → at the teacher's own 50 frames a second.

    The columns are its frames, interpolated linearly; this solves for the frames, nine columns at a time.
    """
    at = np.arange(BLOCK_COLUMNS + 1) * BLOCK_FRAMES / BLOCK_COLUMNS
    interpolation = np.clip(1 - np.abs(at[:, None] - np.arange(BLOCK_FRAMES + 1)), 0, 1)
    solve = np.linalg.pinv(interpolation)[:BLOCK_FRAMES].astype(np.float32)
    blocks = (len(columns) - 2) // BLOCK_COLUMNS  # column 1 lies on sample 0
    taken = np.stack([columns[1 + BLOCK_COLUMNS * m :][: BLOCK_COLUMNS + 1] for m in range(blocks)])
    return np.clip(np.matmul(solve, taken.astype(np.float32)), 0, 1).reshape(-1, columns.shape[1])


def load_lesson(corpus: Corpus, clip: Clip, dims: AudioDims) -> Lesson:
    """A clip of a corpus, whose features the teacher has made."""
    pcm = corpus.pcm(clip)
    taught = teacher_frames(np.asarray(corpus.features(clip, dims, TEACHER)[:, dims.mel_bands :]))
    frames = min(len(taught), len(pcm) // HOP)
    phones = np.full(frames, -1, np.int8)
    for phone in corpus.phones(clip):
        phones[round(phone.start * RATE / HOP) : round(phone.end * RATE / HOP)] = INVENTORY.index(phone.name)
    scaled = np.clip(pcm[: frames * HOP] * 32767, -32768, 32767)
    return Lesson(clip.voice, scaled.astype(np.int16), taught[:frames].astype(np.float16), phones)


class Classroom:
    """Endless batches of distorted windows."""

    def __init__(self, lessons: list[Lesson], dims: StudentDims, seed: int) -> None:
        self.lessons = [lesson for lesson in lessons if len(lesson.phones) > 1.25 * FULL]
        self.dims = dims
        self.random = np.random.default_rng(seed)
        lengths: dict[str, int] = {}
        for lesson in self.lessons:
            lengths[lesson.voice] = lengths.get(lesson.voice, 0) + len(lesson.phones)
        # many voices teach more than much of one: the root of each voice's length counts
        chances = np.array([len(lesson.phones) / lengths[lesson.voice] ** 0.5 for lesson in self.lessons])
        self._chances = np.cumsum(chances / chances.sum())

    def __iter__(self) -> Iterator[LessonBatch]:
        while True:
            frames = int(self.random.choice(list(LENGTHS), p=list(LENGTHS.values())))
            windows = [self._window(frames) for _ in range(BATCH_FRAMES // frames)]
            pcm = torch.from_numpy(np.stack([window[0] for window in windows]))
            mel = torch.stack([self._heard(power) for power in power_spectrum(pcm)])
            taught = torch.from_numpy(np.stack([window[1] for window in windows])).float().square()
            taught = taught / taught.sum(2, keepdim=True).clamp_min(1e-6)
            phones = torch.from_numpy(np.stack([window[2] for window in windows])).long()
            yield LessonBatch(mel, taught, phones)

    def _lesson(self) -> Lesson:
        return self.lessons[min(int(np.searchsorted(self._chances, self.random.random())), len(self.lessons) - 1)]

    def _window(self, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sound float32 [320·frames], taught and phones of its frames, at a tempo of its own."""
        lesson = self._lesson()
        pace = self.random.uniform(0.87, 1.15) if self.random.random() < 0.6 else 1.0
        span = int(frames * pace) + 1
        first = int(self.random.integers(0, len(lesson.phones) - span + 1))
        sound = lesson.pcm[first * HOP : (first + span) * HOP].astype(np.float32) / 32767
        at = pace * np.arange(frames * HOP)
        nearest = np.minimum(first + np.rint(pace * np.arange(frames)).astype(int), len(lesson.phones) - 1)
        pcm = np.interp(at, np.arange(len(sound)), sound) if pace != 1.0 else sound[: frames * HOP]
        return self._mixed(pcm.astype(np.float32)), lesson.taught[nearest], lesson.phones[nearest]

    def _mixed(self, pcm: np.ndarray) -> np.ndarray:
        """With noise or, more softly, another voice; then louder or softer."""
        level = float(np.sqrt(np.mean(pcm**2))) + 1e-5
        kind = self.random.random()
        if kind < 0.3:
            pcm = pcm + self._scaled(self._noise(len(pcm)), level, self.random.uniform(5, 40))
        elif kind < 0.4:
            other = self._lesson().pcm
            first = self.random.integers(0, len(other) - len(pcm) + 1)
            pcm = pcm + self._scaled(other[first : first + len(pcm)] / 32767, level, self.random.uniform(8, 25))
        return (pcm * 10 ** (self.random.uniform(-16, 6) / 20)).astype(np.float32)

    def _noise(self, samples: int) -> np.ndarray:
        """White to brown."""
        spectrum = np.fft.rfft(self.random.normal(size=samples))
        tilt = self.random.uniform(0, 1)
        return np.fft.irfft(spectrum / (1 + np.arange(len(spectrum))) ** tilt, samples)

    @staticmethod
    def _scaled(sound: np.ndarray, level: float, below_db: float) -> np.ndarray:
        return sound * (level * 10 ** (-below_db / 20) / (float(np.sqrt(np.mean(sound**2))) + 1e-5))

    def _heard(self, power: Tensor) -> Tensor:
        """Power [2·T, 257] → log-mel [T, 2·M] of another throat, room and microphone, with gaps."""
        stretch = round(float(self.random.uniform(0.84, 1.2)) / 0.02) * 0.02 if self.random.random() < 0.7 else 1.0
        bank = torch.from_numpy(mel_filterbank(self.dims.bands, round(stretch, 2)))
        mel = log_mel((power * self._equaliser())[None], bank)[0]
        columns = mel.view(-1, self.dims.bands).clone()
        for _ in range(int(self.random.integers(0, 2))):
            low, wide = self.random.integers(0, self.dims.bands - 8), self.random.integers(1, 9)
            columns[:, low : low + wide] = columns[:, low : low + wide].mean()
        if self.random.random() < 0.2:
            first, long = self.random.integers(0, len(columns) - 8), self.random.integers(1, 9)
            columns[first : first + long] = columns.mean(0)
        return columns.view_as(mel)

    def _equaliser(self) -> Tensor:
        """Gains of power [257]: a smooth curve, sometimes without what a telephone cuts off."""
        knots = np.array([0, 6, 12, 24, 48, 96, 160, 257])
        decibel = np.interp(np.arange(WINDOW // 2 + 1), knots, self.random.normal(0, 4, len(knots)))
        if self.random.random() < 0.08:
            decibel[int(self.random.uniform(3400, 7000) * WINDOW / RATE) :] -= 30
        return torch.from_numpy((10 ** (decibel / 10)).astype(np.float32))


class Pupil(nn.Module):
    """A student with a second output for the corpus' phones, which it loses after school."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.phones = nn.Linear(student.dims.width, len(INVENTORY))

    def loss(self, batch: LessonBatch, spent: float) -> dict[str, Tensor]:
        """KL(teacher ‖ student), blanks counting less, and the cross-entropy of the phones."""
        hidden = self.student.hidden(batch.mel)
        scores = self.student.out(hidden).float().log_softmax(2)
        phones = nn.functional.cross_entropy(
            self.phones(hidden).float().flatten(0, 1), batch.phones.flatten(), ignore_index=-1
        )
        return {"KL": divergence(scores, batch.taught), "phones": PHONES_WEIGHT * phones}


def divergence(scores: Tensor, taught: Tensor) -> Tensor:
    """Mean over frames of KL(taught ‖ scores) [B, T, classes], blanks (the last class) counting less."""
    weights = 1 - (1 - BLANK_WEIGHT) * taught[..., -1]
    kl = (taught * (taught.clamp_min(1e-8).log() - scores)).sum(-1)
    return (weights * kl).sum() / weights.sum()


@dataclass(frozen=True)
class Agreement:
    """How far a student hears what its teacher hears."""

    frames: int
    same: float  # share of the teacher's frames that are not blank whose best class is the same
    within: float  # the same, where the student's best class may come a frame (20 ms) early or late
    kl: float  # nats, mean over all frames

    def __str__(self) -> str:
        near = f"the same phone in {self.same:.1%}, within a frame {self.within:.1%}"
        return f"{self.frames} frames: {near}, KL {self.kl:.3f}"


def agreement(recogniser: Recogniser, lessons: list[Lesson]) -> Agreement:
    """Hear the lessons as a stream hears them and compare."""
    same, within, kl = [], [], []
    for lesson in lessons:
        heard, taught = hear(recogniser, lesson), lesson.taught.astype(np.float32)
        n = min(len(heard), len(taught))
        best, true = heard[:n].argmax(1), taught[:n].argmax(1)
        spoken = true != taught.shape[1] - 1
        near = np.any([np.roll(best, shift) == true for shift in (-1, 0, 1)], axis=0)
        same.append((best == true)[spoken])
        within.append(np.asarray(near)[spoken])
        p = np.square(taught[:n]) / np.maximum(np.square(taught[:n]).sum(1, keepdims=True), 1e-6)
        kl.append((p * (np.log(np.maximum(p, 1e-8)) - 2 * np.log(np.maximum(heard[:n], 1e-6)))).sum(1))
    shares = (float(np.concatenate(each).mean()) for each in (same, within, kl))
    return Agreement(sum(map(len, kl)), *shares)


def agreement_by_voice(recogniser: Recogniser, lessons: list[Lesson], known: set[str]) -> dict[str, Agreement]:
    """The agreement for the ``known`` voices together and for each of the new ones; noises are left out."""
    groups: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        if lesson.voice != SPEECHLESS_VOICE:
            groups.setdefault("seen voices" if lesson.voice in known else lesson.voice, []).append(lesson)
    return {name: agreement(recogniser, group) for name, group in groups.items()}


def hear(recogniser: Recogniser, lesson: Lesson) -> np.ndarray:
    """Square roots of posteriors [n, classes] through the windows of a stream."""
    return whole(PosteriorStream(recogniser, lesson.taught.shape[1]), lesson.pcm.astype(np.float32) / 32767)


def heard_by(recogniser: Recogniser | None, examples: list[Example], corpus: Corpus, dims: AudioDims) -> list[Example]:
    """The examples as they sound where this is the phoneme recogniser."""
    heard = []
    for example in examples:
        columns = whole(SpeechFeatures(dims, corpus.fps, recogniser), corpus.pcm(example.clip)).astype(np.float16)
        heard.append(dataclasses.replace(example, features=columns[: len(example.features)]))
    return heard


def train_student(
    lessons: list[Lesson], dims: StudentDims, budget: Budget, options: LoopOptions, seed: int, bar: Progress
) -> tuple[Student, int]:
    """A student and the steps it took."""
    torch.manual_seed(seed)
    pupil = Pupil(Student(dims))
    groups = [{"params": list(pupil.parameters())}]
    classroom = Classroom(lessons, dims, seed)
    steps = fit(pupil, groups, pupil.loss, classroom, budget, options, bar, "recogniser")
    student = Student(dataclasses.replace(dims, sharpness=SHARPNESS)).eval()
    student.load_state_dict(pupil.student.state_dict())
    return student, steps
