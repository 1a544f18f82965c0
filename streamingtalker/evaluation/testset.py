"""What articulation is measured on: sentences of known and of new voices, endless speech, sounds without speech.

Everything is chosen by rule, so that the same corpus always gives the same set.
"""

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamingtalker.config import frame_count
from streamingtalker.data import augment
from streamingtalker.data.augment import SPEECHLESS_VOICE
from streamingtalker.data.dataset import Clip, Corpus, CorpusError, Example, extract_features, load_example
from streamingtalker.data.phones import SILENCE
from streamingtalker.evaluation.measures import SEEN, UNSEEN
from streamingtalker.evaluation.mouth import Intervals, Motion, Mouth
from streamingtalker.talker import Talker
from streamingtalker.topology import Rig

SENTENCES = 60  # of the known voices together, and of each new voice
ENDLESS, PARTS = 6000, 10  # frames of endless speech; it repeats what it says in each of its parts
SOUNDS = ("silence", "noise", "music", "clicks", "hum")
SOUND_SECONDS, SOUND_TAKES = 6.0, 3


@dataclass(frozen=True)
class Sentence:
    """A test sentence with what its target does."""

    clip: Clip
    group: str  # SEEN or UNSEEN
    intervals: Intervals
    offsets: np.ndarray  # float32 [T, W, 3] of the watched vertices, in metres
    target: Motion


def choose(corpus: Corpus, sentences: int = SENTENCES) -> list[tuple[str, Clip]]:
    """The test clips with their group: ``sentences`` of the voices that are also in training, each voice as often as
    the corpus has it, and as many of each other voice. Which ones, a hash of their names decides. Fewer where the
    corpus has no more. Raises CorpusError where it has none.
    """
    heard = {clip.voice for clip in corpus.split("train")}
    spoken = sorted((clip for clip in corpus.split("test") if clip.voice != SPEECHLESS_VOICE), key=_lot)
    if not spoken:
        raise CorpusError(f"{corpus.path} has no spoken test clips; make the corpus again.")
    known = [clip for clip in spoken if clip.voice in heard][:sentences]
    others = sorted({clip.voice for clip in spoken} - heard)
    new = [clip for voice in others for clip in [each for each in spoken if each.voice == voice][:sentences]]
    return [(SEEN, clip) for clip in known] + [(UNSEEN, clip) for clip in new]


def _lot(clip: Clip) -> bytes:
    """Puts clips into an order that has nothing to do with what they are, and is always the same."""
    return hashlib.sha256(clip.name.encode()).digest()


def load_sentences(corpus: Corpus, rig: Rig, mouth: Mouth, chosen: Sequence[tuple[str, Clip]]) -> list[Sentence]:
    """The chosen clips with the motion the corpus gives them, no model in between."""
    shapes = rig.shapes[:, mouth.watched]
    return [_sentence(corpus, rig, mouth, shapes, group, clip) for group, clip in chosen]


def _sentence(corpus: Corpus, rig: Rig, mouth: Mouth, shapes: np.ndarray, group: str, clip: Clip) -> Sentence:
    weights = corpus.weights(clip)
    if weights is None:
        offsets = corpus.offsets(clip, rig)[:, mouth.watched]
    else:
        offsets = np.einsum("ts,swc->twc", weights, shapes, optimize=True)
    frames = len(offsets)
    times = [
        (phone.name, round(phone.start * corpus.fps), round(phone.end * corpus.fps)) for phone in corpus.phones(clip)
    ]
    intervals = [(name, min(first, frames), min(last, frames)) for name, first, last in times]
    return Sentence(clip, group, intervals, offsets, mouth.observe(offsets))


def load_examples(
    corpus: Corpus, rig: Rig, talker: Talker, clips: Sequence[Clip], done: Callable[[], None] = lambda: None
) -> list[Example]:
    """What ``talker`` hears of the ``clips``; the audio features are made where they are missing."""
    part = copy.copy(corpus)
    part.clips = list(clips)
    extract_features(part, talker.dims.audio, jobs=1, done=done)
    examples = [load_example(corpus, clip, rig, talker.vqvae.basis, talker.dims.audio) for clip in clips]
    return [dataclasses.replace(each, moods=_known_moods(each.moods, corpus, talker)) for each in examples]


def _known_moods(moods: torch.Tensor, corpus: Corpus, talker: Talker) -> torch.Tensor:
    """Intensities [T, talker's moods] from the corpus' [T, corpus' moods]; a mood the talker lacks stays away."""
    known = moods.new_zeros(len(moods), len(talker.dims.moods))
    for column, mood in enumerate(talker.dims.moods):
        if mood in corpus.moods:
            known[:, column] = moods[:, corpus.moods.index(mood)]
    return known


@dataclass(frozen=True)
class Endless:
    """Speech of 6000 frames that says the same 600 frames ten times: its end can be held against its beginning."""

    example: Example  # all of it
    target: Motion  # of one round
    intervals: Intervals  # of one round


def endless(
    examples: Sequence[Example], sentences: Sequence[Sentence], style: int, lookahead: int, mouth: Mouth
) -> Endless:
    """Join ``examples`` (of the same ``sentences``) that are spoken in ``style``; all of them, where none is."""
    length = ENDLESS // PARTS
    suitable = [index for index, each in enumerate(examples) if each.clip.style == style] or range(len(examples))
    chosen: list[int] = []
    while sum(len(examples[index].moods) for index in chosen) < length:
        chosen.append(suitable[len(chosen) % len(suitable)])
    parts = [examples[index] for index in chosen]
    target, intervals = _joined([sentences[index] for index in chosen], [len(part.moods) for part in parts], mouth)
    columns = np.concatenate([part.features[: 3 * len(part.moods)] for part in parts])[: 3 * length]
    whole = dataclasses.replace(
        parts[0],
        clip=dataclasses.replace(parts[0].clip, style=style),
        features=np.concatenate([columns] * PARTS + [columns[: 3 * lookahead]]),
        moods=torch.cat([part.moods for part in parts])[:length].repeat(PARTS, 1),
    )
    return Endless(whole, target, intervals)


def _joined(sentences: Sequence[Sentence], lengths: Sequence[int], mouth: Mouth) -> tuple[Motion, Intervals]:
    """The target of one round and its phones. ``lengths``: the frames taken of each sentence."""
    length = ENDLESS // PARTS
    offsets = np.concatenate([each.offsets[:frames] for each, frames in zip(sentences, lengths, strict=True)])[:length]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    intervals = [
        (phone, min(first, frames) + int(start), min(last, frames) + int(start))
        for each, frames, start in zip(sentences, lengths, starts, strict=False)
        for phone, first, last in each.intervals
    ]
    return mouth.observe(offsets), [
        (phone, first, min(last, length)) for phone, first, last in intervals if first < length
    ]


def speechless(talker: Talker, kind: str) -> list[Example]:
    """Sounds of a kind to which a mouth stays shut, as ``talker`` hears them."""
    return [_sound(talker, kind, take) for take in range(SOUND_TAKES)]


def _sound(talker: Talker, kind: str, take: int) -> Example:
    rng = np.random.default_rng((7, SOUNDS.index(kind), take))
    pcm = augment.speechless(kind, SOUND_SECONDS, rng)
    frames = frame_count(len(pcm), talker.dims.fps)
    return Example(
        clip=Clip(f"{kind}{take}", SPEECHLESS_VOICE, take % talker.dims.styles, "test", SOUND_SECONDS),
        coefficients=torch.zeros(frames, talker.dims.motion.coefficients),
        features=talker.audio.features(pcm),
        phones=torch.full((frames,), -1),
        intervals=((SILENCE, 0, frames),),
        moods=torch.zeros(frames, len(talker.dims.moods)),
    )
