"""Speak a text with espeak-ng and tell when each phoneme sounds: ``espeak_program.py VOICE WPM PITCH``.

espeak-ng's own program does not print phoneme times, and within one process an utterance depends on those before it;
hence a process of its own for each. The text comes by standard input. To standard output go one line of JSON,
``{"rate": Hz, "events": [[seconds, IPA], …]}``, and then the sound, int16. Needs the standard library only.
"""

import ctypes
import ctypes.util
import json
import sys
from pathlib import Path
from typing import Any

SYNCHRONOUS, PHONEME_EVENTS, PHONEMES_IN_IPA, PHONEME, UTF8 = 2, 1, 2, 7, 1
RATE, PITCH = 1, 3
NO_LIBRARY, NO_VOICE = 3, 4  # exit statuses


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(library: Any, text: bytes) -> tuple[bytes, list[tuple[float, str]]]:  # noqa: ANN401 - untyped library
    """The int16 sound of ``text`` and the (seconds, IPA) of its phonemes."""
    pieces: list[bytes] = []
    events: list[tuple[float, str]] = []

    def collect(samples: Any, count: int, event: Any) -> int:  # noqa: ANN401 - ctypes pointers
        if samples and count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while event[index].type:
            if event[index].type == PHONEME:
                events.append((event[index].audio_position / 1000, event[index].id.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return b"".join(pieces), events


def has_variant(library: Any, voice: str) -> bool:  # noqa: ANN401 - untyped library
    """Whether the variant after the plus sign of ``voice``, if any, exists: the library itself passes over others."""
    data = ctypes.c_char_p()
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_Info(ctypes.byref(data))
    folder = Path((data.value or b"").decode(), "voices", "!v")
    return "+" not in voice or (folder / voice.split("+")[1]).is_file()


def main(voice: str, words_per_minute: str, pitch: str) -> int:
    """Speak what comes by standard input; NO_LIBRARY or NO_VOICE where that cannot be."""
    path = ctypes.util.find_library("espeak-ng")
    if path is None:
        return NO_LIBRARY
    library = ctypes.CDLL(path)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | PHONEMES_IN_IPA)
    if rate <= 0:
        return NO_LIBRARY
    if library.espeak_SetVoiceByName(voice.encode()) != 0 or not has_variant(library, voice):
        return NO_VOICE
    library.espeak_SetParameter(RATE, int(words_per_minute), 0)
    library.espeak_SetParameter(PITCH, int(pitch), 0)
    sound, events = speak(library, sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps({"rate": rate, "events": events}).encode() + b"\n" + sound)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
