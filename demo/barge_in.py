"""Whether what is heard over the avatar's voice is speech that interrupts it, or a cough, a laugh or an "mm-hm".

A network that tells voices from noise takes laughs and hums for speech. What they lack is variety: a hum, a laugh or an
"uh-huh" is one sound again and again, while the first quarter second of any sentence already goes from sound to sound.
So the spread of the spectral envelope over the *voiced* parts decides; a cough has hardly any.
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

_FLOOR = 1e-6  # of the loudest band: what is fainter counts as that
_SPEECH = 7.25  # variety of what is surely speech
_PERHAPS = 5.0  # of what is speech if words are recognised in it

# Words with which one listens, and what recognisers make of laughs and hums.
_BACK_CHANNEL = frozenset(
    """
    yes yeah yep yup ya ok okay right sure well oh ah aha uh huh um hm hmm mm mhm mmm mmhm mmhmm hmmm uhhuh ha haha
    hahaha heh hehe wow nice cool great good true indeed see i exactly really ahem ugh eh er ooh aw you thank thanks bye
    """.split()  # noqa: SIM905 - a list of literals would be a page
)


class SpeechJudge:
    """Collects what is heard since a voice began, and tells by its ``variety`` whether it is speech."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Another voice begins."""
        self._pcm = np.zeros(0, np.float32)
        self._levels: list[float] = []  # dB of each window
        self._voicing: list[float] = []
        self._bands: list[np.ndarray] = []  # power in each
        self.variety = 0.0

    def feed(self, pcm: np.ndarray) -> None:
        """The next samples, float32 [n]."""
        self._pcm = np.concatenate([self._pcm, pcm])
        while len(self._pcm) >= _LONG:
            self._look(self._pcm[:_LONG])
            self._pcm = self._pcm[_HOP:]
        self.variety = self._spread()

    @property
    def sure(self) -> bool:
        """Whether it is speech by its sound alone."""
        return self.variety >= _SPEECH

    def believes(self, text: str) -> bool:
        """Whether it is speech, now that ``text`` was recognised in it."""
        return self.variety >= _PERHAPS and not is_back_channel(text)

    def _spread(self) -> float:
        """Of the cepstrum over the loud, voiced windows: about 4 for a hum, 6 for a laugh, 9 for speech."""
        if not self._levels:
            return 0.0
        loud = np.array(self._levels) > max(self._levels) - _LOUD_DB
        voiced = loud & (np.array(self._voicing) > _VOICED)
        if voiced.sum() < _MIN_VOICED:
            return 0.0
        bands = np.array(self._bands)
        cepstra = np.log(bands[voiced] + _FLOOR * bands.max()) @ _cosines().T
        return float(np.sqrt(cepstra.var(axis=0).sum()))

    def _look(self, pcm: np.ndarray) -> None:
        power = np.abs(np.fft.rfft(pcm[:_WINDOW] * np.hanning(_WINDOW), _FFT)) ** 2
        self._levels.append(float(10 * np.log10(power.sum() / _WINDOW + 1e-12)))
        self._bands.append(_mel_bands() @ power)
        self._voicing.append(_voicing(pcm - pcm.mean()))


def is_back_channel(text: str) -> bool:
    """Whether the words only say that somebody listens or laughs: "mm-hm", "yes, right", "ha ha"."""
    words = ["".join(filter(str.isalpha, word)).casefold() for word in text.replace("-", " ").split()]
    return all(word in _BACK_CHANNEL for word in words if word)


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
