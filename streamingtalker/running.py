"""Networks where they only run: twins of modules that give the same numbers, their weights laid out for the machine.

A twin shares every tensor with its original but the weights of the linear layers. These it keeps in the order in which
oneDNN reads them on this processor. For the few rows of a stream that is two to three times as fast as PyTorch's own
product, which on processors other than Intel's falls back on slow code; the sums differ by their rounding alone.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from streamingtalker.errors import UserError

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROWS = 32  # rows of a product that the layout is chosen for; others run as well


class RunningError(UserError):
    """A way of running that this machine does not have."""


@dataclass(frozen=True)
class Running:
    """How a network runs.

    ``precision`` is that of the linear layers' products; sums between layers, norms and attention stay in float32.
    ``compiled`` has torch.compile fuse what runs block by block, which needs a C++ compiler or a graphics card, and
    time in the beginning.
    """

    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise RunningError(f"--precision {self.precision} does not exist; choose {' or '.join(PRECISIONS)}.")

    def twin(self, module: M) -> M:
        """``module`` as it runs. Raises RunningError where this machine cannot."""
        if self.precision == "bfloat16" and not _has_bfloat16(module):
            raise RunningError("--precision bfloat16 is not for this processor; leave the option out.")
        return _twin(module, PRECISIONS[self.precision], packed=not self.compiled and _packs(module))

    def compile(self, twin: M) -> M:
        """``twin`` behind torch.compile, where that is wanted. Its calls raise RunningError where that fails."""
        return cast(M, _Compiled(twin)) if self.compiled else twin


class Kept:
    """What has been made of a module's weights: made once, and anew when they have changed."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}
        self._weights: Hashable = None

    def get(self, module: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, under this ``key``."""
        weights = _stamp(module)
        if weights != self._weights:
            self._made.clear()
            self._weights = weights
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy begins empty."""
        return Kept, ()


class PackedLinear(nn.Module):
    """A linear layer that cannot learn: x ↦ x·Wᵀ + b with products in ``dtype``."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype, packed: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = packed
        weight = layer.weight.detach().to(dtype).contiguous()
        self.kept = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) if packed else weight
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        inner = x.to(self.dtype)
        if self.packed:
            y = torch.ops.mkldnn._linear_pointwise(inner, self.kept, self.bias, "none", [], "")
        else:
            y = F.linear(inner, self.kept, self.bias)
        return cast(Tensor, y.to(x.dtype))


class _Compiled(nn.Module):
    """A module behind torch.compile, whose failures name the switch."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.fast = torch.compile(module)

    def forward(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever it wraps
        try:
            return self.fast(*arguments, **options)
        except (RuntimeError, OSError) as error:
            reason = str(error).strip().partition("\n")[0][:100]
            raise RunningError(f"--compile fails on this machine ({reason}); run without it.") from error


def _twin(module: M, dtype: torch.dtype, packed: bool) -> M:
    if type(module) is nn.Linear:
        return cast(M, PackedLinear(cast(nn.Linear, module), dtype, packed))
    if parametrize.is_parametrized(module):
        return _plain(module)
    children = {name: child and _twin(child, dtype, packed) for name, child in module._modules.items()}
    return _copy(module, type(module), _modules=children)


def _copy(module: M, kind: type[nn.Module], **changes: dict[str, Any]) -> M:
    """A module of this class with the same attributes, but for ``changes``."""
    copy = kind.__new__(kind)
    copy.__dict__.update(module.__dict__ | changes)
    return cast(M, copy)


def _plain(module: M) -> M:
    """``module`` with weights computed once and not in every call (HuBERT has a convolution with a weight norm)."""
    parametrised = cast(nn.ModuleDict, module.parametrizations)
    weights = {name: nn.Parameter(getattr(module, name).detach(), requires_grad=False) for name in parametrised}
    others = {name: each for name, each in module._modules.items() if each is not parametrised}
    kind = type(module).__bases__[0]  # ``parametrize`` has made the class for this one module
    return _copy(module, kind, _parameters=module._parameters | weights, _modules=others)


def _packs(module: nn.Module) -> bool:
    return torch.backends.mkldnn.is_available() and _device(module).type == "cpu"


def _has_bfloat16(module: nn.Module) -> bool:
    device = _device(module)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if device.type == "cpu" else device.type == "cuda"


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _stamp(module: nn.Module) -> Hashable:
    """Changes with every change of the weights in place, and with their device."""
    weights = list(module.parameters())
    return _device(module), sum(each._version for each in weights if not each.is_inference())
