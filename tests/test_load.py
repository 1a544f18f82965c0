"""The load test: virtual time, listeners one after another or together, and where they stop being in real time."""

import json

import numpy as np
import pytest

from streamingtalker.bench import main
from streamingtalker.benchmark.load import ALLOWANCE, SERVER_CHUNK, Job, OneByOne, Together, babble, simulate
from streamingtalker.benchmark.sessions import ServingScheme, climb, lag_alone, most, serving_schemes, table
from streamingtalker.checkpoint import save_talker
from streamingtalker.sessions.rows import TalkerRows
from streamingtalker.streamer import FaceStreamer
from tests.conftest import fake_recogniser, tiny_talker
from tests.test_released import released

RATE = 16000
FRAMES = 6  # a piece gives


class Clock:
    """The work's own: whoever works moves it on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Toiler:
    """A server that needs so many seconds for a piece, first come first served."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._waiting: list[int] = []

    def arrive(self, who: int, pcm: np.ndarray, now: float) -> None:
        self._waiting.append(who)

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        who = self._waiting.pop(0)

        def work() -> None:
            self._clock.now += self._seconds

        return Job(work, lambda result, now: [(who, FRAMES)])


def test_babble_is_the_same_every_time_and_differs_from_voice_to_voice():
    np.testing.assert_array_equal(babble(1.0, 3), babble(1.0, 3))
    assert np.abs(babble(1.0, 3) - babble(1.0, 4)).max() > 0.05
    assert babble(1.0, 3).shape == (RATE,) and 0.05 < np.abs(babble(1.0, 3)).max() <= 1.0


def test_time_is_what_the_work_takes_and_waiting_is_free():
    clock = Clock()
    outcome = simulate(Toiler(clock, 0.05), [babble(1.0, 0)], 30, clock)
    assert outcome.busy == pytest.approx(5 * 0.05)
    assert outcome.until == pytest.approx(1.05)
    assert len(outcome.lags[0]) == 5 * FRAMES
    first = [0.25 - k / 30 for k in range(FRAMES)]  # a piece of 0.2 s and its work
    np.testing.assert_allclose(outcome.lags[0], first * 5, atol=1e-9)


def test_the_largest_number_in_real_time_is_found():
    clock = Clock()
    toiler = ServingScheme("toiler", lambda count: Toiler(clock, 0.2 / 9.5))  # nine listeners and a half fill the time
    loads = climb(toiler, 30, 8.0, 64, clock, lag_alone(toiler, 30, 8.0, clock) + ALLOWANCE)
    assert most(loads) == 9
    assert all((load.on_time > 0.999) == (load.sessions <= 9) for load in loads)
    assert next(load for load in loads if load.sessions == 8).busy == pytest.approx(8 / 9.5, abs=0.1)


def test_the_most_that_is_tried_is_the_most_that_is_told():
    clock = Clock()
    assert most(climb(ServingScheme("idle", lambda count: Toiler(clock, 0.0)), 30, 1.0, 10, clock, lag=0.21)) == 10


@pytest.mark.parametrize("recognised", [True, False])
def test_together_and_one_by_one_give_every_frame(recognised):
    talker = tiny_talker()
    ears = fake_recogniser() if recognised else None
    talker.audio.recogniser = lambda: ears
    sounds = [babble(1.4, who) for who in range(3)]
    expected = [len(FaceStreamer(talker).feed(sound)) for sound in sounds]
    together = Together(TalkerRows(talker, 3), ears)
    alone = OneByOne([FaceStreamer(talker) for _ in range(3)])
    for server in (together, alone):
        outcome = simulate(server, sounds, 30, lambda: 0.0)
        assert [len(lags) for lags in outcome.lags] == expected
        assert all(lag > -1e-9 for lags in outcome.lags for lag in lags), "no frame before its sound"


def test_the_lag_of_one_who_is_alone_is_that_of_the_windows():
    talker = tiny_talker()
    scheme = ServingScheme("one", lambda count: Together(TalkerRows(talker, count), fake_recogniser()))
    lag = lag_alone(scheme, 30, 3.0, lambda: 0.0)
    hop_and_right = 0.6 + 0.2
    assert hop_and_right < lag < hop_and_right + 0.2 + SERVER_CHUNK / RATE + 0.1


def test_the_command_line_measures_and_writes(tmp_path, capsys):
    path, out = tmp_path / "tiny.safetensors", tmp_path / "out.json"
    save_talker(path, tiny_talker())
    arguments = ["sessions", "--checkpoint", str(path), "--recogniser", "none", "--seconds", "0.8", "--most", "2"]
    assert main([*arguments, "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert list(document["contenders"]) == ["together, no recogniser", "one by one, no recogniser"]
    assert document["allowance_s"] == ALLOWANCE and document["machine"]["cores"] >= 1
    assert "| together, no recogniser |" in capsys.readouterr().out


def test_the_table_tells_the_most():
    row = {"most": 8, "loads": [{"sessions": 8, "on_time": 1.0, "busy": 0.75, "frames": 9}]}
    assert "| a | 8 | 75 % |" in table({"contenders": {"a": row}})


def test_the_published_network_is_measured_with_and_without_its_audio_encoder():
    loads, talker = {}, released()
    talker.audio.hear_live()
    for scheme in serving_schemes(talker, None):
        loads[scheme.name] = climb(scheme, 30, 1.4, 2, lambda: 0.0, lag=2.0)
        assert most(loads[scheme.name]) == 2
        frames = [load.frames for load in loads[scheme.name]]
        assert frames[-1] >= 20 and frames[-1] > frames[0]
    assert list(loads) == [
        "together, audio features given",
        "one by one, audio features given",
        "together, HuBERT",
        "one by one, HuBERT",
    ]
