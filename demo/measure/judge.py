"""``python -m demo.measure judge``: how well speech over the avatar's voice is told from coughs, laughs and "mm-hm"s.

Visitors' sentences and noises are heard, not in real time, over the echo of an avatar that never pauses, and through
the program's own echo cancellation and voice activity. Prints the weights of ``demo/barge_in.py`` learnt from all of
them, and how soon and how often it is sure: with the weights it has, and with weights learnt from other voices.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.optimize

from demo.acoustics import Room, RoomMicrophone
from demo.barge_in import BIAS, WEIGHTS, SpeechJudge
from demo.echo import CleanMicrophone, Played
from demo.listener import ATTACK
from demo.measure.hall import FLOOR_DB
from demo.measure.listening import Replay
from demo.measure.visitors import Sound, noises, sentences
from demo.microphone import BLOCK, RATE
from demo.voice_activity import SileroDetector, SpeechAudio, SpeechStarted, VoiceActivity
from demo.voices import HibariVoice
from streamingtalker.audio.resample import Resampler
from streamingtalker.errors import UserError

SENTENCES = (
    "Good morning, is anybody there?",
    "Excuse me, I have another question.",
    "No, that is not what I meant.",
    "Let me ask you something else.",
    "Are there any other planets like ours?",
    "Hello, can we talk about football?",
    "Sorry, could you repeat that?",
    "But what about the elephants?",
    "When does the museum close today?",
    "I do not think that is right.",
    "Give me an example, please.",
    "Maybe you should speak slower.",
    "Okay but how much does it cost?",
    "Did you know that I was born here?",
    "Show me the way to the station.",
    "You are talking too fast.",
    "That reminds me of my grandmother.",
    "Which animal is the fastest of all?",
    "Should I bring an umbrella?",
    "Have you ever been to London?",
    "Under what conditions does it work?",
    "Actually, my name is Robert.",
    "Never mind, tell me a joke.",
    "Every summer we go to the lake.",
    "Listen, I want to know more about trains.",
    "And who was the first man on the moon?",
    "Will there be a break at noon?",
    "Right, so why do birds sing?",
    "Finally somebody who understands me.",
    "Please talk about something interesting.",
)
AVATAR = (
    "Our museum was built a hundred years ago, when this street was still a path between two fields.",
    "Most of what you see was given to us by people of this town, and every piece has its own story.",
    "The large machine behind you made paper for nearly fifty years, and it can still be heard on Sundays.",
)
_LONGEST = 1.6  # seconds of a sound within which it has to be sure
_BETWEEN = (0.9, 1.4)  # seconds from sound to sound
_BEGIN = 4.0  # seconds until the echo is cancelled well
_KNOWN = 0.3  # seconds by which what is played is known before it is heard
_LEARNT = (15, 60)  # windows of 10 ms heard: evidence is learnt from these
_DECAY = 0.01  # of the weights, for traits of variance 1
_FOLDS = 5


@dataclass
class Heard:
    """One sound as the judge heard it."""

    sound: Sound
    seconds: list[float] = field(default_factory=list)  # after the sound's first sample
    traits: list[np.ndarray | None] = field(default_factory=list)  # [11] at each of them

    @property
    def is_speech(self) -> bool:
        """Whether a voice says words."""
        return bool(self.sound.voice)

    def sure_at(self, weights: np.ndarray, bias: float, enough: float) -> float | None:
        """Seconds until the evidence is ``enough``; None: never."""
        for seconds, traits in zip(self.seconds, self.traits, strict=True):
            if traits is not None and traits @ weights + bias >= enough:
                return seconds
        return None

    def most(self, weights: np.ndarray, bias: float) -> float:
        """The most evidence there ever was."""
        return max((float(traits @ weights) + bias for traits in self.traits if traits is not None), default=-np.inf)


def hear(sounds: Sequence[Sound], avatar: np.ndarray, rng: np.random.Generator) -> list[Heard]:
    """What the judge makes of ``sounds``, one after another, over ``avatar``, float32 [n] at 16 kHz."""
    pieces, begins, at = [np.zeros(round(_BEGIN * RATE), np.float32)], [], round(_BEGIN * RATE)
    for sound in sounds:
        begins.append(at)
        piece = np.pad(sound.pcm[: round(_LONGEST * RATE)], (0, round(rng.uniform(*_BETWEEN) * RATE)))
        pieces.append(piece)
        at += len(piece)
    played = Played(RATE)

    def play(position: int) -> None:
        ahead = position + round(_KNOWN * RATE)
        played.add(avatar[np.arange(ahead, ahead + BLOCK) % len(avatar)], ahead / RATE)

    hiss = rng.normal(0, 10 ** (FLOOR_DB / 20), 10 * RATE).astype(np.float32)
    room = RoomMicrophone(Replay(np.concatenate(pieces), before=play), played, Room(), hiss)
    return list(_judged(CleanMicrophone(room, played), sounds, begins))


def _judged(microphone: CleanMicrophone, sounds: Sequence[Sound], begins: Sequence[int]) -> Iterator[Heard]:
    judge, activity, blocks = SpeechJudge(), VoiceActivity(SileroDetector()), microphone.blocks()
    for sound, begin, end in zip(sounds, begins, [*begins[1:], np.inf], strict=True):
        activity.reset()
        heard, first = Heard(sound), begin + int(sound.recording.loud[0])
        for block in blocks:
            for event in activity.feed(block.pcm, block.position, clear=block.clear, guarded=True):
                if isinstance(event, SpeechStarted):
                    judge.reset()
                    judge.feed(event.audio[max(0, event.first - event.sample - ATTACK) :])
                elif isinstance(event, SpeechAudio):
                    judge.feed(event.audio)
                seconds = (block.end - first) / RATE
                if isinstance(event, SpeechStarted | SpeechAudio) and 0 < seconds < _LONGEST:
                    heard.seconds.append(seconds)
                    heard.traits.append(judge.traits())
            if block.end > end - RATE // 5:
                break
        yield heard


def learn(heard: Sequence[Heard]) -> tuple[np.ndarray, float]:
    """Weights [11] and bias by logistic regression; speech and noises weigh alike, and so does every sound of each."""
    rows, speech, shares = [], [], []
    for one in heard:
        known = [t for t in one.traits if t is not None and _LEARNT[0] <= np.exp(t[-1]) <= _LEARNT[1]]
        rows += known
        speech += [one.is_speech] * len(known)
        shares += [1 / max(len(known), 1)] * len(known)
    traits, is_speech, share = np.array(rows), np.array(speech), np.array(shares)
    share /= np.where(is_speech, share[is_speech].sum(), share[~is_speech].sum())
    mean, deviation = traits.mean(axis=0), traits.std(axis=0)
    scaled, sign = (traits - mean) / deviation, np.where(is_speech, 1.0, -1.0)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (scaled @ x[:-1] + x[-1])
        slope = -share * sign / (1 + np.exp(margin))
        gradient = np.append(scaled.T @ slope + 2 * _DECAY * x[:-1], slope.sum())
        return float(share @ np.logaddexp(0, -margin) + _DECAY * np.square(x[:-1]).sum()), gradient

    x = scipy.optimize.minimize(loss, np.zeros(traits.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = x[:-1] / deviation
    return weights, float(x[-1] - mean @ weights)


def fold(one: Heard, number: int, voices: Sequence[str]) -> int:
    """To which part it belongs, with all of its voice: each is judged by what was learnt from the others."""
    return (voices.index(one.sound.voice) if one.is_speech else number) % _FOLDS


def report(heard: Sequence[Heard], judge: Callable[[int], tuple[np.ndarray, float]], enough: float) -> str:
    """How soon voices, and how often noises, are taken for speech, where ``judge`` of a number gives the weights."""
    sure = [(one, one.sure_at(*judge(number), enough)) for number, one in enumerate(heard)]
    waits = [np.inf if at is None else at for one, at in sure if one.is_speech]
    median, late, later = 1000 * np.percentile(waits, [50, 90, 95], method="lower")
    noisy = [(one.sound.text, at is not None) for one, at in sure if not one.is_speech]
    kinds = ", ".join(
        f"{kind} {100 * np.mean([taken for name, taken in noisy if name == kind]):.1f}"
        for kind in sorted({name for name, _ in noisy})
    )
    share = 100 * np.mean([taken for _, taken in noisy])
    return (
        f"from evidence {enough:+.1f}: voices after {median:.0f} ms (90 %: {late:.0f}, 95 %: {later:.0f}), "
        f"never {np.isinf(waits).mean():.1%}; noises taken for speech {share:.1f} % ({kinds})"
    )


def spoken_by_avatar() -> np.ndarray:
    """``AVATAR`` by the default voice, float32 [n] at 16 kHz, without a pause."""
    voice = HibariVoice()
    resampler = Resampler(voice.sample_rate, RATE)
    pieces = [resampler.feed(pcm) for sentence in AVATAR for pcm in voice.speak(sentence)]
    return np.concatenate([*pieces, resampler.finish()])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.measure judge", description=__doc__)
    parser.add_argument("--noises", type=int, default=800, help="coughs, laughs, claps and hums (default: 800)")
    parser.add_argument("--sentences", type=int, default=len(SENTENCES), help="by each voice (default: all)")
    parser.add_argument("--seed", type=int, default=1000, help="not that of the conversation's measurement")
    options = parser.parse_args(argv)
    rng = np.random.default_rng(options.seed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            sounds = [
                *sentences(SENTENCES[: options.sentences], Path(folder), rng),
                *noises(options.noises, Path(folder), options.seed),
            ]
            heard = hear([sounds[k] for k in rng.permutation(len(sounds))], spoken_by_avatar(), rng)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    voices = sorted({one.sound.voice for one in heard if one.is_speech})
    parts = [fold(one, number, voices) for number, one in enumerate(heard)]
    others = [learn([one for one, at in zip(heard, parts, strict=True) if at != part]) for part in range(_FOLDS)]
    weights, bias = learn(heard)
    print(f"{len(voices)} voices, {sum(one.is_speech for one in heard)} sentences, {options.noises} noises")
    for enough in (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 0.8, 1.0, 1.2):
        print("as it is,     ", report(heard, lambda _: (WEIGHTS, BIAS), enough))
        print("other voices, ", report(heard, lambda number: others[parts[number]], enough))
    print("learnt from all: WEIGHTS", np.round(weights, 2).tolist(), "BIAS", round(bias, 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
