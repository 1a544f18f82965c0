"""Whether what is heard over the avatar's voice is speech that interrupts it, or a cough, a laugh or an "mm-hm".

A network that tells voices from noise takes laughs and hums for speech. What they lack is variety: a hum, a laugh or an
"uh-huh" is one sound again and again, while the first quarter second of any sentence already goes from sound to sound.
So it is the spread of the spectral envelope that decides, over the voiced and the loud parts, with how steady voice and
loudness are. How far in all a microphone favours low or high sounds changes nothing. The weights were learnt by
``python -m demo.measure judge`` from voices of many synthesizers on one side and models of coughs, laughs and hums on
the other, all heard over the avatar's echo that was taken away: that leaves a voice more ragged than it was.
"""

import functools

import numpy as np

from demo.microphone import RATE

_WINDOW, _HOP, _FFT = 400, 160, 512  # samples: 25 ms every 10 ms
_LONG = 640  # samples in which the pitch is looked for
_PITCHES = slice(RATE // 400, RATE // 70)  # lags in samples
_BANDS, _CEPSTRA = 22, 12
_VOICED = 0.6  # of the autocorrelation's peak at the pitch, 1 for a periodic sound
_LOUD_DB = 18.0  # below the loudest moment: it counts no more
_MIN_VOICED = 6  # windows
_FEW = 3  # windows, at the beginning and at the end

_FLOOR = 1e-6  # of the loudest band: what is fainter counts as that
_KEPT = 200  # windows
_SPEECH = 0.8  # evidence of what is surely speech
_PERHAPS = 0.0  # of what is speech if words are recognised in it
_SENTENCE = (3, -1.0)  # so many words, and the evidence that suffices with them
_NONE = -100.0
# Of logarithms of how much varies: over voiced windows the cepstrum, its first coefficient, the middle bands against
# the low ones, and the cepstrum from the first of them to the last; over loud windows the cepstrum, the high bands
# against the low ones, the level from one to the next; over voiced ones again the cepstrum from one to the next. Then
# what share of the loud windows is voiced, what share of all, and the logarithm of how many there are.
WEIGHTS = np.array([2.87, -2.49, -0.33, 0.69, 3.26, 0.60, -2.26, 3.97, 5.80, -2.56, -1.16])
BIAS = -6.43

# A first word that nobody says while listening, however short it sounds.
_COMMANDS = frozenset(
    {"stop", "wait", "quiet", "enough", "halt", "pause", "silence", "stopp", "warte", "arrête", "para"}
)
# What comes with it where somebody wants nothing but silence.
_POLITE = frozenset(
    {"please", "now", "okay", "ok", "it", "that", "thats", "is", "its", "be", "talking", "speaking", "thanks"}
)
# Words with which one listens, and what recognisers make of laughs and hums.
_BACK_CHANNEL = frozenset(
    """
    yes yeah yep yup ya ok okay right sure well oh ah aha uh huh um hm hmm mm mhm mmm mmhm mmhmm hmmm uhhuh ha haha
    hahaha heh hehe wow nice cool great good true indeed see i exactly really ahem ugh eh er ooh aw you thank thanks bye
    youre welcome all for watching
    """.split()  # noqa: SIM905 - a list of literals would be a page
)


class SpeechJudge:
    """Collects what is heard since a voice began, and tells by its variety whether it is speech."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Another voice begins."""
        self._pcm = np.zeros(0, np.float32)
        self._levels: list[float] = []  # dB of each window
        self._voicing: list[float] = []
        self._bands: list[np.ndarray] = []  # power in each
        self.evidence = _NONE  # for speech, logarithm of its odds

    def feed(self, pcm: np.ndarray) -> None:
        """The next samples, float32 [n]."""
        self._pcm = np.concatenate([self._pcm, pcm])
        while len(self._pcm) >= _LONG:
            self._look(self._pcm[:_LONG])
            self._pcm = self._pcm[_HOP:]
        for kept in (self._levels, self._voicing, self._bands):
            del kept[:-_KEPT]
        self.evidence = self._weigh()

    @property
    def sure(self) -> bool:
        """Whether it is speech by its sound alone."""
        return self.evidence >= _SPEECH

    def believes(self, text: str) -> bool:
        """Whether it is speech, now that ``text`` was recognised in it."""
        words = _words(text)
        if words and words[0] in _COMMANDS:
            return True
        many, enough = _SENTENCE
        return self.evidence >= (enough if len(words) >= many else _PERHAPS) and not is_back_channel(text)

    def traits(self) -> np.ndarray | None:
        """What the evidence is weighed from, float64 [11] as in ``WEIGHTS``; None where hardly any is voiced."""
        levels, bands = np.array(self._levels), np.array(self._bands)
        if not len(levels):
            return None
        loud = levels > levels.max() - _LOUD_DB
        voiced = loud & (np.array(self._voicing) > _VOICED)
        if voiced.sum() < _MIN_VOICED:
            return None
        spectra = np.log(bands + _FLOOR * bands.max())
        cepstra = spectra @ _cosines().T
        spoken, spread = cepstra[voiced], cepstra[voiced].std(axis=0)
        varieties = [
            _norm(spread),
            spread[0],
            _against(spectra, slice(6, 12), slice(5))[voiced].std(),
            _norm(spoken[-_FEW:].mean(axis=0) - spoken[:_FEW].mean(axis=0)),
            _norm(cepstra[loud].std(axis=0)),
            _against(spectra, slice(11, None), slice(8))[loud].std(),
            np.abs(np.diff(levels[loud])).mean(),
            np.abs(np.diff(spoken, axis=0)).mean(),
        ]
        counts = [voiced.sum() / loud.sum(), voiced.mean(), np.log(len(levels))]
        return np.array([*np.log(0.1 + np.array(varieties)), *counts])

    def _weigh(self) -> float:
        traits = self.traits()
        return _NONE if traits is None else float(traits @ WEIGHTS) + BIAS

    def _look(self, pcm: np.ndarray) -> None:
        power = np.abs(np.fft.rfft(pcm[:_WINDOW] * np.hanning(_WINDOW), _FFT)) ** 2
        self._levels.append(float(10 * np.log10(power.sum() / _WINDOW + 1e-12)))
        self._bands.append(_mel_bands() @ power)
        self._voicing.append(_voicing(pcm - pcm.mean()))


def is_command(text: str) -> bool:
    """Whether the words want silence and nothing else: "Stop!", "okay, that is enough", "please be quiet"."""
    words = _words(text)
    return not _COMMANDS.isdisjoint(words) and _COMMANDS.union(_POLITE).issuperset(words)


def is_back_channel(text: str) -> bool:
    """Whether the words only say that somebody listens or laughs: "mm-hm", "yes, right", "ha ha"."""
    return all(word in _BACK_CHANNEL for word in _words(text))


def _words(text: str) -> list[str]:
    words = ("".join(filter(str.isalpha, word)).casefold() for word in text.replace("-", " ").split())
    return [word for word in words if word]


def _norm(vector: np.ndarray) -> float:
    return float(np.sqrt(np.square(vector).sum()))


def _against(spectra: np.ndarray, these: slice, those: slice) -> np.ndarray:
    """By how much some bands are louder than others in each window [T]; ``spectra`` [T, 22] are logarithms."""
    return spectra[:, these].mean(axis=1) - spectra[:, those].mean(axis=1)


def _voicing(pcm: np.ndarray) -> float:
    """Peak of the normalised autocorrelation between 70 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(pcm, 4 * _FFT)) ** 2
    correlation = np.fft.irfft(spectrum)[:_LONG] / (1 - np.arange(_LONG) / _LONG)
    return float(correlation[_PITCHES].max() / (correlation[0] + 1e-9))


@functools.cache
def _mel_bands() -> np.ndarray:
    """Triangular bands from 80 to 6500 Hz, equally wide in mel, float64 [22, 257]."""
    lowest, highest = 2595 * np.log10(1 + np.array([80.0, 6500.0]) / 700)
    edges = 700 * (10 ** (np.linspace(float(lowest), float(highest), _BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = np.fft.rfftfreq(_FFT, 1 / RATE)
    return np.clip(np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)), 0, None)


@functools.cache
def _cosines() -> np.ndarray:
    """The orthonormal cosine transform without its constant, float64 [12, 22]."""
    orders, bands = np.arange(1, _CEPSTRA + 1)[:, None], np.arange(_BANDS)
    return np.sqrt(2 / _BANDS) * np.cos(np.pi * orders * (bands + 0.5) / _BANDS)
