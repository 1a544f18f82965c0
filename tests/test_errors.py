"""How a command line tells what a user can mend, and what the system refuses to write."""

import numpy as np
import pytest

from streamingtalker.errors import UserError, command_line
from streamingtalker.places import PlaceError, writing
from streamingtalker.tensor_file import write_tensors


class BrokenError(UserError):
    """Something is broken."""


@command_line
def main(trouble: BaseException | None, status: int = 0) -> int:
    if trouble is not None:
        raise trouble
    return status


def test_a_command_tells_what_a_user_can_mend_and_lets_everything_else_be_seen(capsys):
    assert [main(None), main(None, status=1), main(KeyboardInterrupt())] == [0, 1, 130]
    assert capsys.readouterr() == ("", "")
    assert main(BrokenError("It is broken; mend it.")) == 2
    assert capsys.readouterr() == ("", "It is broken; mend it.\n")
    with pytest.raises(ZeroDivisionError):
        main(ZeroDivisionError())


def test_what_the_system_does_not_write_is_told_with_the_place(tmp_path):
    with (
        pytest.raises(PlaceError, match=r"the film cannot be written \(.*disk.*\); check the place"),
        writing("the film"),
    ):
        raise OSError("no room on the disk")
    with pytest.raises(BrokenError), writing("the film"):
        raise BrokenError("It is another trouble.")


@pytest.mark.parametrize("place", ["folder", "file/below"])
def test_tensors_that_cannot_be_written_are_told(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlaceError, match=rf"{place} cannot be written"):
        write_tensors(tmp_path / place, {"a": np.zeros(3, np.float32)}, "talker", {})
