"""The wire: one message = one frozen dataclass, packed with msgpack into one WebSocket message.

The client counts turns; everything the server sends carries the turn it belongs to, and whoever receives something
of an older turn drops it. That is all there is to interruption. An answer may be begun in secret: a tentative turn is
like any other, only that nothing is remembered of it and little of it made before its Commit.
"""

import dataclasses
import math
import types
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

import msgpack

PROTOCOL = 3
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_TEXT = 100_000  # characters of what a client sends to be answered or said; of more than 20 000 it is told so
MAX_COUNT = 2**53  # all whole numbers of the protocol count something
_UNPACKED = {"max_array_len": 0, "max_map_len": 64, "max_ext_len": 0}  # no message has lists, or more fields


class WireError(Exception):
    """What arrived is not a message of this protocol. The message names the first thing that is wrong."""


# --- client to server ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """First message of a client."""

    protocol: int  # PROTOCOL of the sender
    mood: str = ""  # in which everything is to be said, as in "happy:0.6"; empty: the server chooses


@dataclass(frozen=True)
class UserText:
    """What the user said or typed; begins a turn and ends every older one."""

    turn: int
    text: str
    tentative: bool = False  # perhaps these are not all the words: Commit or Interrupt follows


@dataclass(frozen=True)
class Commit:
    """The words of the tentative ``turn`` were all: its answer is going to be heard."""

    turn: int


@dataclass(frozen=True)
class SayText:
    """Speak this text as it is, without a language model; begins a turn."""

    turn: int
    text: str


@dataclass(frozen=True)
class SayPhrase:
    """Speak one of the persona's set phrases; begins a turn."""

    turn: int
    phrase: str  # "greeting" or "not_heard"


@dataclass(frozen=True)
class Performance:
    """A piece of recorded speech for the face to perform; the first piece begins the turn."""

    turn: int
    pcm: bytes  # int16 little-endian mono
    sample_rate: int  # Hz, the same in all pieces of a turn
    last: bool  # no more pieces follow


@dataclass(frozen=True)
class Interrupt:
    """``turn`` is over, and every older one: nothing more of it is wanted, also where the server has sent all of it."""

    turn: int
    heard_samples: int = 0  # of its audio that have left the speaker: what was really said


@dataclass(frozen=True)
class NewConversation:
    """Forget what was said; ends the turn that runs."""


# --- server to client ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Welcome:
    """First message of the server."""

    protocol: int
    avatar: str  # name of the avatar that the model was trained on; others of the same mesh do as well
    vertices: int  # V of that mesh
    fps: float  # frames a second of FaceFrame
    sample_rate: int  # Hz of PcmChunk
    engines: dict[str, str]  # what was chosen: llm, tts, talker, device
    mesh: str = ""  # Topology.mesh of the frames
    mood: str = "neutral"  # in which the face rests
    draws_moods: bool = True  # the frames show the mood; else it is for the client to show


@dataclass(frozen=True)
class ReplyText:
    """One sentence of the answer, as it goes to the voice."""

    turn: int
    text: str
    start_sample: int  # where in the turn's audio it begins
    mood: str = "neutral"  # in which it is said, as in "happy:0.6"


@dataclass(frozen=True)
class PcmChunk:
    """The next piece of the turn's audio; pieces follow one another without gaps."""

    turn: int
    start_sample: int  # samples of this turn before this piece
    pcm: bytes  # int16 little-endian mono at Welcome.sample_rate


@dataclass(frozen=True)
class FaceFrame:
    """Frame ``index`` of the turn, due index / fps seconds into its audio."""

    turn: int
    index: int
    offsets: bytes  # float16 little-endian [V, 3], metres from the avatar's template


@dataclass(frozen=True)
class TurnEnd:
    """Nothing more comes of this turn."""

    turn: int
    reply: str  # all that was spoken
    samples: int  # length of the turn's audio
    frames: int  # number of its FaceFrames
    spans_ms: dict[str, float]  # server-side latency spans, see trace.py


@dataclass(frozen=True)
class Notice:
    """A sentence for the operator, to be logged and shown."""

    level: str  # "info", "warning" or "error"
    text: str


ClientMessage = Hello | UserText | Commit | SayText | SayPhrase | Performance | Interrupt | NewConversation
ServerMessage = Welcome | ReplyText | PcmChunk | FaceFrame | TurnEnd | Notice
Message = ClientMessage | ServerMessage
_TYPES: dict[str, type] = {cls.__name__: cls for cls in get_args(Message)}
_FIELDS: dict[str, dict[str, Any]] = {name: get_type_hints(cls) for name, cls in _TYPES.items()}


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    return msgpack.packb({"type": type(message).__name__, **fields})


def decode(data: bytes | str) -> Message:
    """The message in ``data``. Raises WireError for anything else, whatever the bytes are."""
    if not isinstance(data, bytes):
        raise WireError("a text message came where only binary ones are spoken")
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("larger than MAX_MESSAGE_BYTES")
    try:
        fields = msgpack.unpackb(data, object_pairs_hook=_Tables(), **_UNPACKED)
    except Exception as error:  # msgpack raises a family of unrelated types
        raise WireError(f"not msgpack of messages: {type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise WireError("not a map")
    name = fields.pop("type", None)
    if not isinstance(name, str) or name not in _TYPES:
        raise WireError("unknown message type")
    wanted = _FIELDS[name]
    if fields.keys() != wanted.keys():
        raise WireError(f"{name} needs exactly the fields {', '.join(wanted)}")
    for key, kind in wanted.items():
        if not _is_a(fields[key], kind):
            raise WireError(f"{name}.{key} is not {kind}")
        if kind is float:
            fields[key] = float(fields[key])
    if name in (UserText.__name__, SayText.__name__) and len(fields["text"]) > MAX_TEXT:
        raise WireError(f"{name}.text is longer than {MAX_TEXT} characters")
    return _TYPES[name](**fields)


class _Tables:
    """Makes the tables of one message, and refuses more of them than a message has while they are being read."""

    def __init__(self) -> None:
        self._left = 2  # itself, and one inside

    def __call__(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self._left -= 1
        table = dict(pairs)
        if self._left < 0 or len(table) != len(pairs):
            raise ValueError
        return table


def _is_a(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type from get_type_hints
    if isinstance(kind, types.GenericAlias) and get_origin(kind) is dict:
        key_kind, value_kind = get_args(kind)
        return isinstance(value, dict) and all(
            _is_a(key, key_kind) and _is_a(item, value_kind) for key, item in value.items()
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT
    return isinstance(value, kind)
