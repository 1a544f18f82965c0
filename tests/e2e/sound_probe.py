"""A program for the sound faults: a turn of beeps and an open microphone. Prints a JSON line twenty times a second."""

import json
import sys
import threading
import time

import numpy as np

from demo.devices import PortAudioStreams
from demo.lasting import lasting_microphone, lasting_speaker
from demo.playback import Playback

RATE = 24000
EVERY = 0.6  # seconds from beep to beep


def beeps(seconds: int) -> np.ndarray:
    """30 ms of 1 kHz at every multiple of EVERY, float32 [n]."""
    time_s = np.arange(seconds * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * 1000 * time_s) * (time_s % EVERY < 0.03)).astype(np.float32)


def main() -> None:
    """Until the input ends."""
    told: list[str] = []
    level = [0.0]
    streams = PortAudioStreams()
    speaker = lasting_speaker(None, streams)
    speaker.on_notice = lambda notice: told.append(notice.text)
    playback = Playback(speaker)
    microphone = lasting_microphone(None, lambda notice: told.append(notice.text), streams)
    playback.open()
    microphone.open()

    def listen() -> None:
        for block in microphone.blocks():
            level[0] = float(np.abs(block.pcm).max())

    threading.Thread(target=listen, daemon=True).start()
    playback.begin(1, RATE)
    playback.write(1, beeps(600))
    playback.end(1)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.wait(0.05):
        line = {"at": time.monotonic(), "seconds": playback.clock.now().seconds, "told": told[:], "level": level[0]}
        print(json.dumps(line), flush=True)
    microphone.close()
    playback.close()


if __name__ == "__main__":
    main()
