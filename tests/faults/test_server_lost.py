"""The server dies, hangs, or is away for a while: the session goes on."""

import os
import random
import signal
import time

import pytest

from demo.openings import Question
from tests.faults.light_server import bench

SEEDS = range(20)


@pytest.fixture(scope="module")
def stand():
    with bench() as stand:
        stand.until(lambda: stand.client.trace.engines)
        yield stand


def ask(stand, text):
    stand.client.ask(Question(text))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_killed_at_any_point_of_a_turn_is_replaced_and_the_question_answered(stand, seed):
    """Wherever nothing was heard of the answer it is asked again, else there is an apology; the next turn works."""
    chance, before = random.Random(seed), len(stand.client.trace.turns)
    ask(stand, f"first {seed}")
    time.sleep(chance.uniform(0, 1.2))
    os.kill(stand.pid, signal.SIGKILL)
    killed = time.monotonic()
    stand.until(lambda: stand.client.status.away, 5)
    assert stand.client._client._turn is None or stand.client._client._turn.end is not None
    assert time.monotonic() - killed < 0.5
    stand.until(lambda: not stand.client.status.away)
    ask(stand, f"second {seed}")
    stand.until(lambda: stand.answered(f"second {seed}"))
    assert len(stand.client.trace.turns) - before in (2, 3)
