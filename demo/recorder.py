"""What was seen and heard, as an MP4: H.264 at a constant rate, AAC beside it, both equally long.

Time is that of the audio: sample *n* given to ``audio`` is at *n*/rate, and pictures are placed by it. Encoding has a
thread of its own; whoever gives pictures or sound is never kept waiting.
"""

import logging
import os
import threading
from collections import deque
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from streamingtalker.errors import UserError

log = logging.getLogger(__name__)

_WAITING_PICTURES = 12  # more are dropped, and the one before stands longer
_SLACK = 0.6  # of a frame: a picture this near to the next place takes it, so that jitter makes no stutter


class RecorderError(UserError):
    """A film that cannot be written."""


class Recorder:
    """Writes one film. Use it as a context manager: it is finished whatever happens inside."""

    def __init__(self, path: Path, size: tuple[int, int], rate: int, fps: int = 30) -> None:
        """``size``: width and height in pixels, made even; pictures of another size are fitted. ``rate`` in Hz.

        Raises RecorderError where the file cannot be made.
        """
        self.path = Path(path)
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._rate, self._fps = rate, fps
        self._film = _Film(self.path, self._size, rate, fps)
        self._todo: deque[tuple[np.ndarray, float | None]] = deque()  # picture and its time, or sound
        self._pictures = 0  # of them waiting
        self.dropped = 0  # pictures for which the encoder had no time
        self._changed = threading.Condition()
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def video(self, frame: np.ndarray, at_seconds: float) -> None:
        """A picture uint8 [H, W, 3] sRGB, seen from ``at_seconds`` of the recorded audio on."""
        with self._changed:
            if self._pictures >= _WAITING_PICTURES or self._closing:
                self.dropped += 1
                return
            self._pictures += 1
            self._todo.append((frame, at_seconds))
            self._changed.notify()

    def audio(self, pcm: np.ndarray, _heard_at: float = 0.0) -> None:
        """The next samples, float32 [n]; a tap of the playback's."""
        with self._changed:
            if not self._closing:
                self._todo.append((pcm, None))
                self._changed.notify()

    def close(self) -> None:
        """Finish the film. Raises RecorderError where it could not be written; a second call does nothing."""
        with self._changed:
            closed, self._closing = self._closing, True
            self._changed.notify()
        self._thread.join()
        if closed:
            return
        error = self._error
        if error is not None:
            raise RecorderError(
                f"The film {self.path} could not be written to its end ({error}); check the free space there."
            ) from error
        if self._film.frames:
            log.info("The film is in %s.", self.path)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close()
        except RecorderError as failure:
            if kind is None:
                raise
            log.error("%s", failure)  # the exception under way matters more

    def _run(self) -> None:
        try:
            while (piece := self._next()) is not None:
                data, at = piece
                if self._error is not None:
                    continue  # a film that broke off: take what comes, so that memory does not grow
                try:
                    self._film.sound(data) if at is None else self._film.picture(data, at)
                except Exception as error:  # PyAV has its own for every cause
                    self._fail(error)
        finally:
            self._finish()

    def _next(self) -> tuple[np.ndarray, float | None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._todo or self._closing)
            if not self._todo:
                return None
            data, at = self._todo.popleft()
            self._pictures -= at is not None
            return data, at

    def _finish(self) -> None:
        try:
            self._film.close()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        log.error("Recording %s stopped: %s", self.path, error)
        self._error = self._error or error


class _Film:
    """The file, used by one thread."""

    def __init__(self, path: Path, size: tuple[int, int], rate: int, fps: int) -> None:
        import av

        self._av: Any = av
        self._rate, self._fps, self._size = rate, fps, size
        self._path, self._part = path, _unfinished(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        except (OSError, av.FFmpegError) as error:
            raise RecorderError(f"The film {path} cannot be written ({error}); choose another path.") from error
        self._video: Any = self._file.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = Fraction(1, fps)
        self._video.options = {"preset": "superfast", "crf": "21", "threads": "1"}
        self._audio: Any = self._file.add_stream("aac", rate=rate, layout="mono")
        self._audio.bit_rate = 128_000
        self._shown: np.ndarray | None = None  # the picture that stands
        self.frames = 0  # written
        self._samples = 0  # written

    def picture(self, pixels: np.ndarray, at: float) -> None:
        """Let the picture before stand until ``at``, then show this one."""
        place = at * self._fps
        if abs(place - self.frames) > _SLACK:
            self._stand(round(place))
        if self.frames - place > _SLACK:
            return  # its place is taken already
        self._shown = pixels
        self._stand(self.frames + 1)

    def sound(self, pcm: np.ndarray) -> None:
        """Append float32 samples."""
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm, np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._samples, Fraction(1, self._rate)
        self._samples += len(pcm)
        self._file.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Make both equally long, empty the encoders, write the index, take the place of an older film."""
        try:
            self._stand(round(self._samples * self._fps / self._rate))
            missing = self.frames * self._rate // self._fps - self._samples
            if missing > 0:
                self.sound(np.zeros(missing, np.float32))
            self._file.mux(self._video.encode(None))
            self._file.mux(self._audio.encode(None))
        finally:
            self._file.close()
            if self.frames:  # else there is no file
                self._part.replace(self._path)

    def _stand(self, until: int) -> None:
        """Write the standing picture (black before the first) until ``until`` frames are written."""
        if until <= self.frames:
            return
        pixels = self._shown if self._shown is not None else np.zeros((*self._size[::-1], 3), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(*self._size, format="yuv420p", dst_colorspace="ITU709", interpolation="BILINEAR")
        frame.time_base = Fraction(1, self._fps)
        for place in range(self.frames, until):
            frame.pts = place
            self._file.mux(self._video.encode(frame))
        self.frames = until


def _unfinished(path: Path) -> Path:
    """Where a film is until it is finished: no other program's film, and no film that cannot be played, at ``path``."""
    if path.exists() and not path.is_file():
        return path  # a device or a pipe is written to, not replaced
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
