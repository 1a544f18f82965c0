"""What the two public data sets are: subjects, sentences, splits, frame rates, units and the lips' vertex pairs.

Splits as in the paper's appendix A, which follows VOCA and FaceFormer.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """One sequence a split needs."""

    name: str  # <subject>_<sentence>, also its file name
    subject: str
    sentence: str
    split: str


@dataclass(frozen=True)
class DataSet:
    """A public data set."""

    name: str
    vertices: int  # V
    source_fps: int  # of the files
    fps: int  # of the model; every (source_fps / fps)-th frame is used
    units: str  # of lengths
    identities: tuple[str, ...]  # subjects trained on; the order is the identity index
    splits: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]  # name, subjects, sentences
    lip_pairs: tuple[tuple[int, int], ...]  # inner-lip vertices (upper, lower), for the mouth opening

    def wanted(self) -> Iterator[Wanted]:
        """Every sequence of every split, in order."""
        for split, subjects, sentences in self.splits:
            for subject in subjects:
                for sentence in sentences:
                    yield Wanted(f"{subject}_{sentence}", subject, sentence, split)

    def subjects(self) -> tuple[str, ...]:
        """Everybody in any split, once."""
        return tuple(dict.fromkeys(subject for _, subjects, _ in self.splits for subject in subjects))


def _named(pattern: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in range(first, last + 1))


def _face_talk(*numbers: str) -> tuple[str, ...]:
    return tuple(f"FaceTalk_{number}_TA" for number in numbers)


_VOCA_TRAIN = _face_talk(
    "170728_03272",
    "170904_00128",
    "170725_00137",
    "170915_00223",
    "170811_03274",
    "170913_03279",
    "170904_03276",
    "170912_03278",
)
_SENTENCE = "sentence{:02d}"

VOCASET = DataSet(
    name="vocaset",
    vertices=5023,
    source_fps=60,
    fps=30,
    units="m",
    identities=_VOCA_TRAIN,
    splits=(
        ("train", _VOCA_TRAIN, _named(_SENTENCE, 1, 40)),
        ("val", _face_talk("170811_03275", "170908_03277"), _named(_SENTENCE, 21, 40)),
        ("test", _face_talk("170809_00138", "170731_00024"), _named(_SENTENCE, 21, 40)),
    ),
    lip_pairs=((2865, 2907), (2866, 2938), (3546, 3504), (1751, 1849), (1750, 1804)),
)

_BIWI_SEEN = ("F2", "F3", "F4", "M3", "M4", "M5")

BIWI = DataSet(
    name="biwi",
    vertices=23370,
    source_fps=25,
    fps=25,
    units="1",  # coordinates are divided by the square root of the face's surface
    identities=_BIWI_SEEN,
    splits=(
        ("train", _BIWI_SEEN, _named("e{:02d}", 1, 32)),
        ("val", _BIWI_SEEN, _named("e{:02d}", 33, 36)),
        ("test-a", _BIWI_SEEN, _named("e{:02d}", 37, 40)),
        ("test-b", ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6"), _named("e{:02d}", 37, 40)),
    ),
    lip_pairs=((366, 21538), (12773, 10665), (21688, 22962), (10235, 21152), (10117, 14028)),
)

DATA_SETS = {data_set.name: data_set for data_set in (VOCASET, BIWI)}
