"""Twins that only run: the same numbers, nothing learnt, nothing stale."""

import copy

import pytest
import torch
from torch import nn

from streamingtalker.running import Kept, PackedLinear, Running, RunningError
from streamingtalker.running import _Compiled as Compiled


def network() -> nn.Sequential:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 3, 1))
    inner = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 7, bias=False))
    return nn.Sequential(conv, nn.Linear(16, 24), nn.GELU(), inner).eval()


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_a_twin_gives_the_same(rows):
    original = network()
    twin = Running().twin(original)
    x = torch.randn(rows, 3, 16)
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), original(x), rtol=1e-5, atol=1e-6)
    assert isinstance(twin[1], PackedLinear) and isinstance(twin[3][1], PackedLinear)
    assert isinstance(original[1], nn.Linear) and twin[3][0].weight is original[3][0].weight
    assert not [name for name in twin[0].state_dict() if "parametrizations" in name]
    assert "0.parametrizations.weight.original0" in original.state_dict()


def test_bfloat16_is_near_and_stays_inside_the_products():
    original, x = network(), torch.randn(9, 3, 16)
    try:
        twin = Running("bfloat16").twin(original)
    except RunningError as error:
        pytest.skip(str(error))
    with torch.inference_mode():
        found, expected = twin(x), original(x)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_what_does_not_exist_is_named_by_its_switch(monkeypatch):
    with pytest.raises(RunningError, match=r"--precision float8 .* float32 or bfloat16"):
        Running("float8")
    monkeypatch.setattr("streamingtalker.running._has_bfloat16", lambda module: False)
    with pytest.raises(RunningError, match="--precision bfloat16"):
        Running("bfloat16").twin(network())


def test_compiling_is_a_switch_and_its_failure_names_it(monkeypatch):
    original = network()
    assert Running().compile(original) is original

    def fail(module):
        def call(*arguments):
            raise RuntimeError("no compiler\nmore")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    compiled = Running(compiled=True).compile(original)
    assert isinstance(compiled, Compiled)
    with pytest.raises(RunningError, match=r"--compile .*\(no compiler\); run without"):
        compiled(torch.zeros(1, 3, 16))


class TestKept:
    """What is made of weights."""

    def test_is_made_once_until_the_weights_change(self):
        module, kept, made = network(), Kept(), []

        def get(key="a"):
            return kept.get(module, key, lambda: made.append(key) or len(made))

        assert [get(), get(), get("b"), get("b")] == [1, 1, 2, 2]
        with torch.no_grad():
            module[1].bias.add_(1)
        assert [get(), get()] == [3, 3]
        module.load_state_dict(copy.deepcopy(module.state_dict()))
        assert get() == 4

    def test_is_not_copied(self):
        module, kept = network(), Kept()
        kept.get(module, "a", lambda: 1)
        assert copy.deepcopy(kept).get(module, "a", lambda: 2) == 2
