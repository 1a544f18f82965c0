"""A check sheet of a corpus: minutes, phones and what the lips do, voice by voice, and what is said.

``python -m streamingtalker.data.check corpus`` needs the weights of a corpus only, not its vertices.
"""

import argparse
import collections
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.data.augment import SPEECHLESS
from streamingtalker.data.phones import BILABIALS, INVENTORY, ROUNDED, SILENCE, VOWELS, Phone
from streamingtalker.data.sentences import SPLITS
from streamingtalker.errors import UserError, command_line
from streamingtalker.evaluation.mouth import CLOSED
from streamingtalker.topology import DEFAULT_AVATAR, Rig, load_rig


class CheckError(UserError):
    """There is no corpus to check."""


@dataclass(frozen=True)
class MouthGauge:
    """Opening and width of a rig's mouth from weights alone: both follow the few vertices of the inner lips."""

    pairs: np.ndarray  # float32 [5, 3] upper minus lower lip at rest
    per_shape: np.ndarray  # float32 [S, 5, 3]
    corners: np.ndarray  # float32 [3] from corner to corner at rest
    corners_per_shape: np.ndarray  # float32 [S, 3]

    @classmethod
    def of(cls, rig: Rig) -> "MouthGauge":
        """The gauge of a rig. The corners are the outermost lip vertices."""
        template, lips = rig.topology.template, rig.topology.lips
        upper, lower = rig.topology.lip_pairs.T
        left, right = lips[template[lips, 0].argmin()], lips[template[lips, 0].argmax()]
        return cls(
            template[upper] - template[lower],
            rig.shapes[:, upper] - rig.shapes[:, lower],
            template[right] - template[left],
            rig.shapes[:, right] - rig.shapes[:, left],
        )

    def gap(self, weights: np.ndarray) -> np.ndarray:
        """Mean distance [T] of the lip pairs in metres for ``weights`` [T, S]."""
        pairs = self.pairs + np.einsum("ts,spc->tpc", weights.astype(np.float32), self.per_shape)
        return np.linalg.norm(pairs, axis=2).mean(axis=1)

    def width(self, weights: np.ndarray) -> np.ndarray:
        """Distance [T] of the corners of the mouth in metres for ``weights`` [T, S]."""
        return np.linalg.norm(self.corners + weights.astype(np.float32) @ self.corners_per_shape, axis=1)


@dataclass
class Tally:
    """What was counted over clips."""

    seconds: collections.Counter[str] = field(default_factory=collections.Counter)  # by split
    phones: collections.Counter[str] = field(default_factory=collections.Counter)
    bilabials_closed: list[bool] = field(default_factory=list)  # one for each m b p
    open_frames_closed: list[bool] = field(default_factory=list)  # frames in the middle of other sounds
    silence_gaps: list[float] = field(default_factory=list)  # metres, frames well inside of a silence
    gaps: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))  # widest, by phone
    widths: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))  # least, by phone

    def add(self, phones: Sequence[Phone], gap: np.ndarray, width: np.ndarray, fps: float) -> None:
        """Count a clip's ``phones`` and its mouth's ``gap`` and ``width`` [T]."""
        times = np.arange(len(gap)) / fps
        for phone in phones:
            self.phones[phone.name] += 1
            inside = (times >= phone.start) & (times < phone.end)
            if phone.name in BILABIALS:
                near = (times >= phone.start - 1 / fps) & (times <= phone.end + 1 / fps)
                self.bilabials_closed.append(bool((gap[near] < CLOSED).any()))
            if not inside.any():
                continue
            self.gaps[phone.name].append(float(gap[inside].max()))
            self.widths[phone.name].append(float(width[inside].min()))
            middle = (times > phone.start + 0.04) & (times < phone.end - 0.04)
            if phone.name == SILENCE:
                settled = (times > phone.start + 0.15) & (times < phone.end - 0.12)
                self.silence_gaps += gap[settled].tolist()
            elif phone.name not in BILABIALS:
                self.open_frames_closed += (gap[middle] < CLOSED).tolist()


def read_phones(path: Path) -> list[Phone]:
    """The phones of a clip."""
    return [
        Phone(entry["phone"], entry["start"], entry["end"], entry.get("stress", 0))
        for entry in json.loads(path.read_text())
    ]


def read_manifest(corpus: Path) -> dict[str, Any]:
    """The manifest of a corpus. Raises CheckError where ``corpus`` is not a finished one."""
    path = corpus / "corpus.json"
    if not path.is_file():
        raise CheckError(f"{path} does not exist; finish it with 'python -m streamingtalker.data.synthetic'.")
    return dict(json.loads(path.read_text()))


def tally(corpus: Path, rig: Rig) -> dict[str, Tally]:
    """The tallies of a corpus by voice. Raises CheckError where ``corpus`` is not a finished corpus."""
    manifest = read_manifest(corpus)
    gauge = MouthGauge.of(rig)
    tallies: dict[str, Tally] = collections.defaultdict(Tally)
    for clip in manifest["clips"]:
        weights = np.load(corpus / "weights_npy" / f"{clip['name']}.npy")
        phones = read_phones(corpus / "phones" / f"{clip['name']}.json")
        count = tallies[clip["voice"]]
        count.seconds[clip["split"]] += clip["seconds"]
        count.add(phones, gauge.gap(weights), gauge.width(weights), manifest["fps"])
    return dict(tallies)


_NUMBER = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand)\b")
_KINDS: Mapping[str, Callable[[str], bool]] = {
    "question": lambda text: "?" in text,
    "exclamation": lambda text: "!" in text,
    "list": lambda text: text.count(",") > 1,
    "number": lambda text: _NUMBER.search(text.lower()) is not None,
    "name or place": lambda text: re.search(r"[a-z,] [A-Z][a-z]+", text) is not None,
    "at most three words": lambda text: len(text.split()) <= 3,
    "over ninety letters": lambda text: len(text) > 90,
    "several sentences": lambda text: len(re.findall(r"[.?!](?= )", text)) > 0,
}


def text_report(clips: Sequence[Mapping[str, Any]]) -> str:
    """What the clips of a manifest say: utterances, words and, of each split, the share of each kind of text."""
    texts = {split: [clip["text"] for clip in clips if clip["split"] == split] for split in SPLITS}
    lines = [f"text                  {'  '.join(f'{split:>7}' for split in SPLITS)}"]

    def add(title: str, count: Callable[[list[str]], str]) -> None:
        lines.append(f"{title:20}  {'  '.join(f'{count(texts[split]):>7}' for split in SPLITS)}")

    add("utterances", lambda said: str(len(said)))
    add("different ones", lambda said: str(len(set(said))))
    add("different words", lambda said: str(len(set(re.findall(r"[a-z']+", " ".join(said).lower())))))
    for kind, is_one in _KINDS.items():
        add(f"{kind} %", lambda said, is_one=is_one: f"{100 * np.mean([is_one(text) for text in said] or [0]):.0f}")  # type: ignore[misc]
    return "\n".join(lines)


def _percent(flags: Sequence[bool]) -> str:
    return f"{100 * np.mean(flags):6.1f}" if flags else "     –"


def _millimetres(values: Iterable[float], quantile: float = 0.5) -> str:
    values = list(values)
    return f"{1e3 * np.quantile(values, quantile):6.1f}" if values else "     –"


def report(tallies: dict[str, Tally]) -> str:
    """The check sheet."""
    lines = ["voice       train    val   test  minutes   mbp closed %   others closed %   silence p99 mm   vowels mm"]
    for voice, count in sorted(tallies.items()):
        minutes = " ".join(f"{count.seconds[split] / 60:6.1f}" for split in ("train", "val", "test"))
        vowels = [gap for name in VOWELS for gap in count.gaps[name]]
        lines.append(
            f"{voice:10} {minutes} {' ' * 12} {_percent(count.bilabials_closed)} {' ' * 11} "
            f"{_percent(count.open_frames_closed)} {' ' * 10} {_millimetres(count.silence_gaps, 0.99)} "
            f"{' ' * 4} {_millimetres(vowels)}"
        )
    lines += ["", "phone    count   widest opening mm (5 %, median, 95 %)   least width mm (median)"]
    for name in INVENTORY:
        gaps = [gap for count in tallies.values() for gap in count.gaps[name]]
        widths = [width for count in tallies.values() for width in count.widths[name]]
        spread = " ".join(_millimetres(gaps, quantile) for quantile in (0.05, 0.5, 0.95))
        mark = " round" if name in ROUNDED else ""
        total = sum(count.phones[name] for count in tallies.values())
        lines.append(f"{name:6} {total:7d}   {spread} {' ' * 20} {_millimetres(widths)}{mark}")
    return "\n".join(lines)


@command_line
def main() -> int:
    """The command line; status 2 where there is nothing to check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", default=Path("corpus"))
    parser.add_argument("--avatar", type=Path, default=DEFAULT_AVATAR)
    options = parser.parse_args()
    print(report(tally(options.corpus, load_rig(options.avatar))))
    spoken = [clip for clip in read_manifest(options.corpus)["clips"] if clip["text"] not in SPEECHLESS]
    print(f"\n{text_report(spoken)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
