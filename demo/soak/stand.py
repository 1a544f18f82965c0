"""The program under endurance: started on the rig, heard through its log, asked through its microphone."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from demo.measure.rig import SoundServer, VirtualScreen
from demo.models import default_cache
from demo.soak.record import BEGUN, OVER, SoakError

REPOSITORY = Path(__file__).resolve().parent.parent.parent

_START_SECONDS = 180.0
_GOODBYE_SECONDS = 60.0


class Stand:
    """``run_demo.py`` in a process of its own with its crowd's hall; a ``Hall``."""

    def __init__(
        self,
        screen: VirtualScreen,
        sound: SoundServer,
        folder: Path,
        options: tuple[str, ...] = (),
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Its log, its trace and its temporary files go to ``folder``; ``notice`` is told every line of the log."""
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.trace = folder / "trace.json"
        self._sound = sound
        self._notice = notice
        self._begun = 0  # newest turn
        self._over = 0  # newest turn whose answer was said
        self._asked = 0  # newest turn when somebody last spoke
        self._ended = False
        self._changed = threading.Condition()
        own = {"TMPDIR": str(self.temporary), "STREAMINGTALKER_CACHE": str(default_cache()), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "run_demo.py", "--trace", str(self.trace), *options],
            cwd=REPOSITORY,
            env=os.environ | screen.env | sound.env | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._log = (folder / "log.txt").open("w", encoding="utf-8")
        self._reader = threading.Thread(target=self._read, name="log", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended

    def wait_until_ready(self) -> None:
        """Until it has greeted. Raises SoakError."""
        with self._changed:
            self._changed.wait_for(lambda: self._over > 0 or self._ended, _START_SECONDS)
        if self._over == 0:
            raise SoakError("The program did not get as far as its greeting; its log tells why.")

    def end(self) -> int:
        """End it in good order; its exit status."""
        self.process.terminate()  # not SIGINT: a soak in the background inherits that it is ignored
        try:
            return self.process.wait(_GOODBYE_SECONDS)
        finally:
            self.process.kill()
            self._reader.join(_GOODBYE_SECONDS)
            self._log.close()

    def play(self, wav: Path, volume: float = 1.0, *, wait: bool = True) -> None:
        """Sound into the microphone."""
        with self._changed:
            self._asked = self._begun
        playing = self._sound.start_playing(wav, volume)
        if wait:
            playing.wait(300)
        else:
            threading.Thread(target=playing.wait, daemon=True).start()  # so that no zombie is left

    def answering(self, seconds: float) -> bool:
        """Wait for an answer to what was said last."""
        return self._wait(lambda: self._begun > self._asked, seconds)

    def answered(self, seconds: float) -> bool:
        """Wait until nothing is being answered."""
        return self._wait(lambda: self._over >= self._begun, seconds)

    def rest(self, seconds: float) -> None:
        """Let time pass, unless the program ends."""
        self._wait(lambda: False, seconds)

    def _wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: reached() or self._ended, seconds)
            return reached()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in itertools.chain(self.process.stdout, [None]):
            with self._changed:
                if line is None:
                    self._ended = True
                else:
                    self._log.write(f"{time.monotonic():.3f} {line}")
                    self._log.flush()
                    self._understand(line)
                self._changed.notify_all()

    def _understand(self, line: str) -> None:
        self._notice(line.rstrip())
        if begun := BEGUN.search(line):
            self._begun = int(begun[1])
        if over := OVER.search(line):
            self._over = int(over[1])
