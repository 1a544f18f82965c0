"""The server dies, hangs, or is away for a while: the session goes on."""

import os
import random
import signal
import time

import pytest

from demo.openings import Question
from tests.faults.light_server import bench

SEEDS = range(20)
SLACK = 5  # on a machine that does other things, too


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the servers print."""
    return tmp_path_factory.mktemp("faults") / "stderr"


@pytest.fixture(scope="module")
def stand(said):
    with bench(trace=said) as stand:
        stand.until(lambda: stand.client.trace.engines)
        yield stand


def ask(stand, text):
    stand.client.ask(Question(text))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_killed_at_any_point_of_a_turn_is_replaced_and_the_question_answered(stand, seed, measured):
    """Wherever nothing was heard of the answer it is asked again, else there is an apology; the next turn works."""
    chance, before = random.Random(seed), len(stand.client.trace.turns)
    ask(stand, f"first {seed}")
    time.sleep(chance.uniform(0, 1.2))
    os.kill(stand.pid, signal.SIGKILL)
    noticed = measured("noticed", stand.until(lambda: stand.client.status.away, 5))
    assert stand.client._client._turn is None or stand.client._client._turn.end is not None
    assert noticed < 0.5
    measured("there again", stand.until(lambda: not stand.client.status.away))
    ask(stand, f"second {seed}")
    stand.until(lambda: stand.answered(f"second {seed}"))
    assert len(stand.client.trace.turns) - before in (2, 3)


def lose(stand, act):
    """Have a server lost; seconds until that was noticed, and until the next turn was answered."""
    marker = f"after {time.monotonic():.3f}"
    act()
    began = time.monotonic()
    stand.until(lambda: stand.client.status.away, 10)
    noticed = time.monotonic() - began
    stand.until(lambda: not stand.client.status.away)
    ask(stand, marker)
    stand.until(lambda: stand.answered(marker))
    return noticed, time.monotonic() - began


def test_a_stopped_server_is_noticed_and_replaced(stand, measured):
    """Nothing tells of it but silence: it answers no ping for two seconds."""
    ask(stand, "are you there")
    noticed, answered = lose(stand, lambda: os.kill(stand.pid, signal.SIGSTOP))
    measured("noticed", noticed)
    measured("next turn answered", answered)
    assert noticed < 3.5


@pytest.mark.parametrize(
    ("question", "traces"),
    [("hang the loop", "in stream"), ("hang the animator " * 20, "in finish")],
    ids=["event loop", "animator"],
)
def test_a_hanging_part_of_the_server_tells_where_and_is_replaced(stand, question, traces, said, measured):
    before = stand.pid
    noticed, answered = lose(stand, lambda: ask(stand, question))
    measured("noticed", noticed)
    measured("next turn answered", answered)
    assert stand.pid != before
    assert noticed < 10
    assert traces in said.read_text()


def test_an_answer_that_is_all_here_is_spoken_to_its_end_without_a_server(stand, measured):
    ask(stand, "short")
    stand.until(lambda: stand.client._client._turn is not None and stand.client._client._turn.end is not None)
    os.kill(stand.pid, signal.SIGKILL)
    measured("noticed", stand.until(lambda: stand.client.status.away, 5))
    measured("spoken to its end", stand.until(lambda: stand.answered("short")))
    stand.until(lambda: not stand.client.status.away)


def test_of_a_broken_answer_nothing_is_heard_or_seen_any_more(stand, measured):
    """Within a tenth of a second from when the loss is known, which the kernel tells at once."""
    ask(stand, "something that is answered slowly, please")
    stand.until(lambda: stand.client._client._turn is not None)
    turn = stand.client._client._turn
    stand.until(lambda: stand.playback.first_sample_at(turn.number))
    assert turn is not None and turn.end is None
    os.kill(stand.pid, signal.SIGKILL)
    idle = stand.until(lambda: stand.playback.clock.now().turn != turn.number and not stand.frames.waiting(), 5)
    assert measured("idle", idle) < 0.1 * SLACK
    stand.until(lambda: not stand.client.status.away)
    stand.until(lambda: any("lost the thread" in trace.reply for trace in stand.client.trace.turns))


def test_what_is_asked_while_nobody_is_there_is_answered_later(stand, measured):
    os.kill(stand.pid, signal.SIGKILL)
    stand.until(lambda: stand.client.status.away, 5)
    ask(stand, "still there?")
    measured("answered", stand.until(lambda: stand.answered("still there?")))


def test_after_five_losses_in_a_minute_there_is_a_calm_picture_and_ever_longer_waits(measured):
    with bench(most=5) as stand:
        stand.until(lambda: stand.client.trace.engines)
        for _ in range(5):
            os.kill(stand.pid, signal.SIGKILL)
            stand.until(lambda: stand.client.status.away)
            stand.until(lambda: not stand.client.status.away)
        os.kill(stand.pid, signal.SIGKILL)
        stand.until(lambda: stand.client.status.away)
        assert measured("waited before the sixth", stand.until(lambda: not stand.client.status.away)) > 1.9


@pytest.mark.skipif("SOAK" not in os.environ, reason="make soak")
@pytest.mark.timeout(600)
def test_a_hundred_kills_in_a_row(stand, measured):
    longest = 0.0
    for number in range(100):
        ask(stand, f"question {number}")
        _, answered = lose(stand, lambda: os.kill(stand.pid, signal.SIGKILL))
        longest = max(longest, answered)
    measured("next turn answered at the latest", longest)
