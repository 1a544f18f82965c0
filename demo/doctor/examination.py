"""Runs the checks: those that need the same thing one after another, others side by side."""

import threading
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from demo.doctor import machine, picture, sound
from demo.doctor.findings import Finding, Level, as_json, exit_status, show
from demo.doctor.isolation import Check, run
from demo.settings import Settings

Lane = tuple[Check, ...]  # one after another; the sum of their limits is what an examination can take
LANES: tuple[Lane, ...] = (
    (Check("sound", sound.check_sound, 11.0), Check("picture", picture.check_picture, 17.0)),
    (  # the language model wants a core to itself, so it goes while the other lane only listens
        Check("language model", machine.check_language_model, 12.0),
        Check("models", machine.check_models, 7.0),
        Check("network", machine.check_network, 4.0),
        Check("disk", machine.check_disk, 3.0),
        Check("memory", machine.check_memory, 3.0),
    ),
)


def examine(
    settings: Settings, tell: Callable[[Finding], None] = lambda finding: None, lanes: Sequence[Lane] = LANES
) -> list[Finding]:
    """All findings. ``tell`` is given each when it is made, one at a time."""
    findings: list[Finding] = []
    lock = threading.Lock()

    def walk(lane: Lane) -> None:
        for check in lane:
            for finding in run(check, settings):
                with lock:
                    findings.append(finding)
                    tell(finding)

    threads = [threading.Thread(target=walk, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return findings


def diagnose(settings: Settings, in_json: bool) -> int:
    """Examine and print. Gives the exit status."""
    console, began = Console(highlight=False), time.monotonic()
    findings = examine(settings, lambda finding: None if in_json else show(finding, console))
    if in_json:
        print(as_json(findings, time.monotonic() - began))
    else:
        counts = {level: sum(finding.level is level for finding in findings) for level in Level}
        words = ", ".join(f"{count} {level.value}" for level, count in counts.items())
        console.print(f"{words}; looked at in {time.monotonic() - began:.0f} s. Nothing was recorded.")
    return exit_status(findings)
