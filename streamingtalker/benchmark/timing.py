"""Latency of a face model against the length of the sound (the paper's Figure 3)."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamingtalker.config import RATE
from streamingtalker.streamer import FEED_SAMPLES, FaceModel, FaceStreamer


@dataclass(frozen=True)
class Contender:
    """Something that turns sound into frames."""

    name: str
    run: Callable[[np.ndarray], Iterator[int]]  # 16 kHz float32 [n] → numbers of frames, as they are ready
    causal: bool  # whether it can begin before the sound is complete


@dataclass(frozen=True)
class Timing:
    """One run. Seconds from the moment the sound is there."""

    first: float  # until the first frame
    total: float  # until the last
    first_work: float  # the same in processor time of this process, which other programs do not lengthen
    work: float
    frames: int


@dataclass(frozen=True)
class Summary:
    """Runs of one contender at one length, in milliseconds."""

    seconds: float  # of sound
    runs: int
    first_median: float
    first_p95: float
    first_work: float  # processor time of the least disturbed run
    per_frame_median: float  # the whole run over its frames
    per_frame_p95: float
    per_frame_work: float

    @classmethod
    def of(cls, seconds: float, timings: Sequence[Timing]) -> "Summary":
        """Medians, 95th percentiles and least work."""
        first, frame = [t.first for t in timings], [t.total / t.frames for t in timings]
        work = [t.work / t.frames for t in timings]
        figures = (
            *(np.median(first), np.quantile(first, 0.95), min(t.first_work for t in timings)),
            *(np.median(frame), np.quantile(frame, 0.95), min(work)),
        )
        return cls(seconds, len(timings), *(1000 * float(figure) for figure in figures))


def streaming(model: FaceModel) -> Contender:
    """The model as the demo runs it, fed with pieces of 0.1 s."""

    def run(pcm: np.ndarray) -> Iterator[int]:
        for frames in FaceStreamer(model).stream([pcm]):
            yield len(frames)

    return Contender("ours, streaming", run, causal=True)


def whole_clip(model: FaceModel) -> Contender:
    """The model used as full-sequence methods are: all the sound in, then all frames out."""

    def run(pcm: np.ndarray) -> Iterator[int]:
        streamer = FaceStreamer(model)
        yield len(streamer.feed(pcm)) + len(streamer.finish())

    return Contender("the same network, the clip as a whole", run, causal=False)


def measure(contender: Contender, pcm: np.ndarray) -> Timing:
    """One run over ``pcm``."""
    clocks = (time.perf_counter, time.process_time)
    began = [clock() for clock in clocks]

    def since() -> list[float]:
        return [clock() - start for clock, start in zip(clocks, began, strict=True)]

    first, frames = None, 0
    for count in contender.run(pcm):
        if count and first is None:
            first = since()
        frames += count
    assert first is not None, "no sound is so short that it has no frame"
    total = since()
    return Timing(first[0], total[0], first[1], total[1], frames)


def sweep(
    contenders: Sequence[Contender],
    speech: np.ndarray,
    lengths: Sequence[float],
    runs: int,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, list[Summary]]:
    """Every contender at every length of sound (seconds), ``runs`` times, after a run to warm up.

    The runs of all lengths alternate, so that a machine that gets busy or hot disturbs them alike.
    """
    timings: dict[tuple[str, float], list[Timing]] = {}
    for contender in contenders:
        measure(contender, cut(speech, min(lengths)))
    for run in range(runs):
        for contender in contenders:
            for seconds in lengths if run % 2 == 0 else list(reversed(lengths)):
                timings.setdefault((contender.name, seconds), []).append(measure(contender, cut(speech, seconds)))
                progress()
    return {
        contender.name: [Summary.of(seconds, timings[contender.name, seconds]) for seconds in lengths]
        for contender in contenders
    }


def slope(summaries: Sequence[Summary], figure: str) -> float:
    """How much ``figure`` changes from the shortest to the longest sound along a straight line, over its mean."""
    lengths = np.array([summary.seconds for summary in summaries])
    values = np.array([getattr(summary, figure) for summary in summaries])
    steepness = np.polyfit(lengths, values, 1)[0]
    return float(steepness * (lengths.max() - lengths.min()) / values.mean())


def sound_needed(model: FaceModel, speech: np.ndarray) -> float:
    """Seconds of sound after which the first frame comes, to a tenth: what no fast machine can shorten."""
    streamer = FaceStreamer(model)
    for start in range(0, len(speech), FEED_SAMPLES):
        if len(streamer.feed(speech[start : start + FEED_SAMPLES])):
            return (start + FEED_SAMPLES) / RATE
    return len(speech) / RATE


def cut(speech: np.ndarray, seconds: float) -> np.ndarray:
    """``speech`` repeated or cut to a length."""
    return np.resize(speech, round(seconds * RATE)).astype(np.float32)
