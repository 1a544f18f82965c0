"""The wire: every message survives the trip, and nothing else gets through."""

import dataclasses
import time
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo import messages
from demo.messages import MAX_COUNT, MAX_MESSAGE_BYTES, MAX_TEXT, Message, PcmChunk, UserText, WireError, decode, encode
from tests.fuzz_messages import HOSTILE, Report, bent

whole = st.integers(min_value=-(2**63), max_value=2**63 - 1)
count = st.integers(min_value=0, max_value=MAX_COUNT - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=50)
VALUES = {
    int: count,
    float: finite,
    bool: st.booleans(),
    str: words,
    bytes: st.binary(max_size=200),
    dict[str, str]: st.dictionaries(words, words, max_size=4),
    dict[str, float]: st.dictionaries(words, finite, max_size=4),
}
KINDS = sorted(messages._TYPES.values(), key=lambda kind: kind.__name__)


def of_kind(kind: type) -> st.SearchStrategy:
    hints = messages._FIELDS[kind.__name__]
    return st.builds(kind, **{field.name: VALUES[hints[field.name]] for field in dataclasses.fields(kind)})


any_message: st.SearchStrategy[Message] = st.one_of(*map(of_kind, KINDS))
any_value = st.recursive(
    st.none() | st.booleans() | whole | st.floats() | words | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)


def refused(data: bytes) -> bool:
    """Whether ``data`` is no message; any other error than WireError fails the test."""
    try:
        decode(data)
    except WireError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_the_trip(kind):
    @given(of_kind(kind))
    def check(message: Message) -> None:
        assert decode(encode(message)) == message

    check()


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    assert refused(data)


@given(any_message, st.data())
def test_every_truncation_is_refused(message, data):
    whole_message = encode(message)
    cut = data.draw(st.integers(0, len(whole_message) - 1))
    assert refused(whole_message[:cut])


@given(any_message, st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(message, rest):
    assert refused(encode(message) + rest)


@given(any_message, st.data())
def test_a_flipped_bit_is_refused_or_another_message(message, data):
    mutated = bytearray(encode(message))
    mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused(bytes(mutated))  # must not raise anything else


@given(st.sampled_from(KINDS), st.dictionaries(words, any_value, max_size=5))
def test_foreign_fields_are_refused(kind, fields):
    names = {field.name for field in dataclasses.fields(kind)}
    if fields.keys() != names:
        assert refused(msgpack.packb({**fields, "type": kind.__name__}))


@given(st.sampled_from(KINDS), st.data())
def test_a_field_of_another_type_is_refused(kind, data):
    fields = {
        "type": kind.__name__,
        **{field.name: data.draw(any_value) for field in dataclasses.fields(kind)},
    }
    packed = msgpack.packb(fields)
    if not refused(packed):
        message = decode(packed)
        for field in dataclasses.fields(kind):
            hint = messages._FIELDS[kind.__name__][field.name]
            assert isinstance(getattr(message, field.name), getattr(hint, "__origin__", hint))


@given(any_value)
def test_what_is_no_map_with_a_known_type_is_refused(value):
    assert refused(msgpack.packb(value))


@settings(max_examples=1000)
@given(st.one_of(any_message.map(encode), any_value.map(msgpack.packb)), st.integers(0, 2**32 - 1))
def test_a_hundred_thousand_bent_messages(data, seed):
    """A thousand messages, each bent in a hundred ways: one exception type, and no time to speak of."""
    report = Report()
    for message in bent(data, 100, seed):
        report.examine(message)
    assert report.inputs == 100 and report.failures == []


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:2].hex())
def test_what_is_large_or_deep_is_refused_at_once(data):
    tracemalloc.start()
    began = time.thread_time()
    assert refused(data)
    took, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 0.05 and peak < len(data) + 100_000


def test_four_megabytes_of_lists_or_maps_are_refused_at_once():
    room = MAX_MESSAGE_BYTES - 5
    for head, one in ((b"\xdd", b"\x90"), (b"\xdd", b"\x01"), (b"\xdf", b"\xa0\x80")):
        began = time.thread_time()
        assert refused(head + (room // len(one)).to_bytes(4, "big") + one * (room // len(one)))
        assert time.thread_time() - began < 0.05


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Commit", "turn": -1},
        {"type": "Commit", "turn": MAX_COUNT},
        {"type": "SayText", "turn": 1, "text": "a" * (MAX_TEXT + 1)},
        {"type": "TurnEnd", "turn": 1, "reply": "", "samples": 0, "frames": 0, "spans_ms": {"x": float("inf")}},
    ],
)
def test_what_counts_nothing_and_what_is_too_long_is_refused(fields):
    assert refused(msgpack.packb(fields))


def test_a_field_twice_is_refused():
    assert refused(b"\x83\xa4type\xa6Commit\xa4turn\x01\xa4turn\x02")


def test_a_text_message_is_refused():
    with pytest.raises(WireError, match="text message"):
        decode("hello")


def test_a_large_message_is_refused_unread():
    with pytest.raises(WireError, match="MAX_MESSAGE_BYTES"):
        decode(bytes(MAX_MESSAGE_BYTES + 1))


def test_a_claim_of_four_gigabytes_is_refused():
    assert refused(b"\xc6\xff\xff\xff\xff")  # bin 32
    assert refused(b"\xdd\xff\xff\xff\xff")  # array 32
    assert refused(b"\xdf\xff\xff\xff\xff")  # map 32


def test_deep_nesting_is_refused():
    assert refused(b"\x91" * 100_000)


def test_a_whole_number_serves_as_a_float_but_not_the_other_way_round():
    welcome = {"type": "TurnEnd", "turn": 1, "reply": "", "samples": 0, "frames": 0, "spans_ms": {"x": 3}}
    assert decode(msgpack.packb(welcome)).spans_ms == {"x": 3}
    assert refused(msgpack.packb({"type": "UserText", "turn": 1.0, "text": ""}))
    assert refused(msgpack.packb({"type": "UserText", "turn": True, "text": ""}))


def test_the_largest_messages_fit():
    second = PcmChunk(1, 0, bytes(2 * 192_000))
    assert len(encode(second)) < MAX_MESSAGE_BYTES
    assert decode(encode(UserText(1, "ä" * 1000))).text == "ä" * 1000
