"""Pickles of other people: numbers come back, nothing runs, nothing takes long."""

import collections
import os
import pickle
import time

import numpy as np
import pytest

from streamingtalker.safe_pickle import MEGABYTE, PickleError, _run_child, checked_array, read_pickle
from tests.test_checkpoint import full_disk

DOUBLING = b"".join(b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))  # (x, x) …


class Canary:
    """Runs a command where a pickle is loaded carelessly."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Key:
    """An array where only what can be compared may stand."""

    def __reduce__(self):
        return np.ones(2).__reduce__()


def written(folder, data: bytes):
    path = folder / "strange.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_texts_and_containers_come_back(tmp_path, protocol):
    content = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "clip": {"audio": np.arange(5, dtype=">i2"), "rate": np.int64(22000), 5: [1, 2.5, None, True, "é", (3, 4)]},
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(dict, {"x": {0: 1}}),
    }
    found = read_pickle(written(tmp_path, pickle.dumps(content, protocol)))
    np.testing.assert_array_equal(found["matrix"], content["matrix"])
    np.testing.assert_array_equal(found["fortran"], content["fortran"])
    assert found["clip"]["audio"].tolist() == [0, 1, 2, 3, 4]
    assert found["clip"]["rate"] == 22000
    assert found["clip"][5] == content["clip"][5]
    assert found["ordered"] == {"a": 1} and found["default"] == {"x": {0: 1}}


def test_a_pickle_of_python_2_is_read_as_latin_1(tmp_path):
    """Its arrays are byte strings, which Python 3 reads as text."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    state = b"(I1\n(I2\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\xff'\ntb."
    assert read_pickle(written(tmp_path, array + state)).tolist() == [1, 255]


def test_a_canary_is_named_and_never_runs(tmp_path):
    canary = tmp_path / "canary"
    path = written(tmp_path, pickle.dumps({"a": np.ones(2), "b": Canary(f"echo > {canary}")}))
    with pytest.raises(PickleError, match=r"strange\.pkl wants (posix|nt)\.system"):
        read_pickle(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged or no pickle"),
        (b"hello world", "damaged or no pickle"),
        (pickle.dumps({"a": np.ones(100)})[:200], "damaged or no pickle"),
        (pickle.dumps(eval), "builtins.eval"),
        (pickle.dumps(np.array([{}], dtype=object)), "no plain numbers"),
        (pickle.dumps({1, 2}), "holds a set"),
        (pickle.dumps({Key(): 1}), "by an array"),
        (pickle.dumps({("a", Key()): 1}), "by an array"),
        (b"\x80\x02)q\x00" + DOUBLING + b".", "without end"),
        (b"\x80\x02)q\x00" + DOUBLING + b"}h\x3cK\x01s.", "more memory or time"),  # as a key, hashed for ever
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "more memory or time"),  # a memo of gigabytes
        (b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.", "more memory or time|damaged"),
    ],
    ids=["empty", "text", "cut", "call", "objects", "set", "key", "in a key", "doubling", "hashing", "memo", "huge"],
)
def test_what_is_no_file_of_numbers_is_refused_soon_and_by_name(tmp_path, data, reason):
    began = time.process_time() + os.times().children_user
    with pytest.raises(PickleError, match=reason) as caught:
        read_pickle(written(tmp_path, data))
    assert "strange.pkl" in str(caught.value)
    assert time.process_time() + os.times().children_user - began < 5


def test_a_list_that_contains_itself_is_refused(tmp_path):
    endless: list = []
    endless.append(endless)
    with pytest.raises(PickleError, match="without end"):
        read_pickle(written(tmp_path, pickle.dumps(endless)))


def test_what_the_system_refuses_is_not_called_harm(tmp_path):
    """Neither a file that may not be read, nor one whose numbers find no room."""
    path = written(tmp_path, pickle.dumps(np.ones(1000)))
    with pytest.raises(PickleError, match=r"cannot be opened here .*IsADirectory"):
        _run_child(tmp_path, tmp_path / "result", seconds=3, memory=1024 * MEGABYTE)
    with full_disk(2000), pytest.raises(PickleError, match=r"strange\.pkl cannot be opened here .*too large.*; check"):
        read_pickle(path)


def test_more_text_than_a_file_of_numbers_needs_is_told_so(tmp_path):
    with pytest.raises(PickleError, match=r"strange\.pkl cannot be opened here .*[Hh]eader"):
        read_pickle(written(tmp_path, pickle.dumps(b"\xe9" * 16_000_000)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PickleError, match=r"templates\.pkl does not exist"):
        read_pickle(tmp_path / "templates.pkl")


def test_an_array_is_checked_for_shape_and_finite_values():
    array = np.ones((4, 3))
    assert checked_array("t.pkl", "the template", array, (None, 3)) is array
    with pytest.raises(PickleError, match=r"t\.pkl: the template has the shape 4 × 3 where any × 2"):
        checked_array("t.pkl", "the template", array, (None, 2))
    with pytest.raises(PickleError, match="no array of numbers"):
        checked_array("t.pkl", "the template", [1, 2], (2,))
    array[0, 0] = np.nan
    with pytest.raises(PickleError, match="not finite"):
        checked_array("t.pkl", "the template", array, (4, 3))
