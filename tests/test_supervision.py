"""Who hangs is noticed and told of, who is lost too often is given time, and systemd hears what is true."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from demo.supervision import (
    EXIT_HANGING,
    EXIT_TOO_OFTEN,
    HANGING_LOOKS,
    LOOK_SECONDS,
    Part,
    Restarts,
    Watchdog,
    notify_service_manager,
)


def test_a_part_hangs_when_it_is_busy_and_does_nothing_for_two_seconds():
    done, busy = [0], [True]
    part = Part("animator", lambda: done[0], lambda: busy[0])
    assert part.look() and not part.hangs
    for _ in range(HANGING_LOOKS - 1):
        assert not part.look() and not part.hangs
    done[0] += 1
    assert part.look(), "slow is not dead"
    busy[0] = False
    assert all(part.look() for _ in range(20)), "nothing is to be done"
    busy[0] = True
    looks = [part.look() for _ in range(HANGING_LOOKS)]
    assert part.hangs and not any(looks)
    assert HANGING_LOOKS * LOOK_SECONDS <= 2


def test_what_is_lost_once_in_a_while_is_started_at_once():
    restarts = Restarts()
    assert [restarts.delay(20.0 * number) for number in range(100)] == [0.0] * 100


def test_what_is_lost_too_often_waits_ever_longer_and_is_forgiven_after_a_minute():
    restarts, now, delays = Restarts(), 0.0, []
    for _ in range(14):
        delays.append(restarts.delay(now))
        now += delays[-1] + 1
        assert restarts.exhausted == (len(delays) > 5)
    assert delays == [0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert restarts.delay(now + 130) == 0.0 and not restarts.exhausted


@pytest.fixture
def manager(tmp_path):
    """What systemd would hear, and the environment in which it does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        yield channel, {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def heard(channel) -> list[str]:
    states = []
    channel.setblocking(False)
    try:
        while True:
            states.append(channel.recv(1000).decode())
    except BlockingIOError:
        return states


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no systemd there")
def test_the_service_manager_is_told(manager):
    channel, environment = manager
    assert notify_service_manager("READY=1", environment)
    assert channel.recv(100) == b"READY=1"
    assert not notify_service_manager("READY=1", {})
    assert not notify_service_manager("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})


@pytest.mark.skipif(sys.platform != "linux", reason="names in no folder are Linux's")
def test_an_abstract_name_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0talker-{os.getpid()}")
        assert notify_service_manager("READY=1", {"NOTIFY_SOCKET": f"@talker-{os.getpid()}"})
        assert channel.recv(100) == b"READY=1"


def test_the_watchdog_is_fed_only_while_pictures_and_sound_advance(manager, tmp_path):
    channel, environment = manager
    counts, hanging = {"renderer": 0, "loudspeaker": 0}, []
    parts = [Part(name, lambda name=name: counts[name]) for name in counts]
    with (tmp_path / "stacks").open("w") as stacks:
        watchdog = Watchdog(parts, hanging.append, stacks, lambda state: notify_service_manager(state, environment))
        for advancing in ({"renderer", "loudspeaker"}, {"renderer"}, {"loudspeaker"}, set()):
            watchdog.look()
            heard(channel)
            for _ in range(3):
                for name in advancing:
                    counts[name] += 1
                watchdog.look()
            assert (heard(channel) == ["WATCHDOG=1"] * 3) == (len(advancing) == 2)
    assert hanging == ["loudspeaker", "renderer"] or set(hanging) == {"renderer", "loudspeaker"}
    assert "most recent call first" in (tmp_path / "stacks").read_text()


@pytest.mark.realtime
def test_a_part_that_hangs_is_told_once_within_three_seconds(tmp_path, measured):
    """A renderer that stands still for good, in real time."""
    hanging, noticed = [], threading.Event()
    with (
        (tmp_path / "stacks").open("w") as stacks,
        Watchdog(
            [Part("renderer", lambda: 7)],
            lambda name: (hanging.append(name), noticed.set()),
            stacks,
            lambda state: None,
        ),
    ):
        began = time.monotonic()
        assert noticed.wait(10)
        assert measured("noticed", time.monotonic() - began) < 3.5
        time.sleep(1)
    assert hanging == ["renderer"]


GUARDED = """
import asyncio, ctypes, sys, time
from demo import supervision
async def main(after, hang):
    guard = asyncio.create_task(supervision.guard_process([], sys.stderr))
    await asyncio.sleep(0.7)
    print("guarded", flush=True)
    await asyncio.sleep(after)
    hang()
    guard.cancel()
supervision.LAST_RESORT_SECONDS = {last_resort}
asyncio.run(main({main}))
"""


def guarded(main, last_resort=10.0):
    """A process whose event loop is guarded, once it is."""
    process = subprocess.Popen(
        [sys.executable, "-c", GUARDED.format(main=main, last_resort=last_resort)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        start_new_session=True,
    )
    assert process.stdout.readline() == "guarded\n"
    return process


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("hang", "status", "where", "within"),
    [
        ("lambda: time.sleep(1000)", EXIT_HANGING, "in <lambda>", 2.6),
        ("lambda: sum(0 for _ in iter(int, 1))", EXIT_HANGING, "in <genexpr>", 2.6),
        ("lambda: ctypes.PyDLL(None).sleep(1000)", 1, "in <lambda>", 4.0),
    ],
    ids=["in the system", "in Python", "holding the interpreter"],
)
def test_an_event_loop_that_hangs_ends_its_process_and_says_where(hang, status, where, within, measured):
    process = guarded(f"0, {hang}", last_resort=3.0)
    began = time.monotonic()
    _, told = process.communicate(timeout=30)
    seconds = measured("ended", time.monotonic() - began)
    assert process.returncode == status and where in told
    assert ("The event loop hangs" in told) == (status == EXIT_HANGING)
    assert seconds < within + 2.0  # on a machine that does other things, too


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform != "linux", reason="whether it is stopped is seen in /proc")
@pytest.mark.parametrize(("stop", "last_resort"), [("SIGSTOP", 10.0), ("SIGTSTP", 2.0)])
def test_a_process_that_was_stopped_for_three_seconds_goes_on(stop, last_resort):
    """As by whoever pauses a machine, and by Ctrl-Z, which may last longer than the last resort waits."""
    process = guarded("4, lambda: None", last_resort)
    os.kill(process.pid, getattr(signal, stop))
    time.sleep(3)
    assert Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    os.kill(process.pid, signal.SIGCONT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (0, "")


BEGINS_ANEW = """
import os, sys, time
from demo.supervision import begin_anew
print("started", flush=True)
begin_anew()
"""


def test_a_process_that_begins_anew_again_and_again_gives_up(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(BEGINS_ANEW)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.count("started") == 6 and done.returncode == EXIT_TOO_OFTEN


def test_the_calm_picture_says_it_is_back_soon():
    from demo.clock import PlaybackTime
    from demo.status import BACK_SOON, Status

    nothing = PlaybackTime(-1, None, False)
    assert Status(away=True).captions(nothing).reply == BACK_SOON
    assert not Status().captions(nothing).reply
