"""Floating-point operations of a piece of PyTorch code, by formula, and what no formula counts.

One multiply-add is two FLOPs. Many published tables print multiply-adds under the name of FLOPs:
half of what is given here.

Counted are convolutions, matrix products, attention and dot products, and the weighted sums that
interpolation consists of: bilinear sampling, whether by grid_sample, by resizing or by the bags of
four pixels that a deformable convolution gathers, is four multiply-adds a value. How the places and
weights of samples are found, activations, normalisations and poolings are not counted but listed,
by operator and number of calls.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...]
ELEMENTWISE = "elementwise"
_TAPS = {"bilinear": 4, "nearest": 0, "bicubic": 16}
_GRID_SAMPLE_MODES = ("bilinear", "nearest", "bicubic")


class Flops(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """FLOPs by operator, and the calls of operators that no formula counts, views left out.

    One multiply-add is two FLOPs. Operators that treat every value by itself, such as additions and
    activations, are one entry of `uncounted_calls`.
    """

    counted: dict[str, float]
    uncounted_calls: dict[str, float]

    @property
    def total(self) -> float:
        """All FLOPs that were counted."""
        return sum(self.counted.values())

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            counted=dict(Tally(self.counted) + Tally(other.counted)),
            uncounted_calls=dict(Tally(self.uncounted_calls) + Tally(other.uncounted_calls)),
        )

    def __truediv__(self, parts: int) -> Flops:
        return Flops(
            counted={name: count / parts for name, count in sorted(self.counted.items())},
            uncounted_calls={n: count / parts for n, count in sorted(self.uncounted_calls.items())},
        )


class FlopCounter:
    """Counts what runs inside it, on any device; it may be entered again and again.

    On the device `meta` nothing is computed, so that the counts of large frames cost no time.

    >>> import torch
    >>> with (counter := FlopCounter()):
    ...     product = torch.ones(2, 3) @ torch.ones(3, 5)
    >>> counter.take()
    Flops(counted={'aten.mm': 60}, uncounted_calls={'aten.ones': 2})
    """

    def __init__(self) -> None:
        self._counted: Tally[str] = Tally()
        self._uncounted: Tally[str] = Tally()
        self._inside: ExitStack | None = None
        self._mode: FlopCounterMode | None = None

    def __enter__(self) -> Self:
        from torch.utils.flop_counter import FlopCounterMode

        formulas = _formulas()
        self._mode = FlopCounterMode(display=False, custom_mapping=formulas)
        known = {*self._mode.flop_registry, *formulas}
        with ExitStack() as entered:
            # Below the counter, which takes composite operators apart: what arrives here are the
            # operators that formulas are for.
            entered.enter_context(_listing(known, self._uncounted))
            entered.enter_context(self._mode)
            self._inside = entered.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self._inside is None or self._mode is None:
            raise RuntimeError("the counter was left before it was entered")
        self._inside.__exit__(*error)  # type: ignore[arg-type]
        for operator, flops in self._mode.get_flop_counts().get("Global", {}).items():
            self._counted[str(operator)] += flops
        self._inside = self._mode = None

    def take(self) -> Flops:
        """What was counted since the last call."""
        taken = Flops(
            counted={name: n for name, n in sorted(self._counted.items()) if n},
            uncounted_calls=dict(sorted(self._uncounted.items())),
        )
        self._counted.clear()
        self._uncounted.clear()
        return taken


def count(code: Callable[[], object]) -> Flops:
    """The FLOPs of calling `code` once."""
    with FlopCounter() as counter:
        code()
    return counter.take()


def _listing(known: set[Any], calls: Tally[str]) -> AbstractContextManager[object]:
    """A dispatch mode that counts the calls of operators that are not known; views are free."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Listing(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func not in known and func.overloadpacket not in known and not func.is_view:
                elementwise = torch.Tag.pointwise in func.tags
                calls[ELEMENTWISE if elementwise else str(func.overloadpacket)] += 1
            return func(*args, **(kwargs or {}))

    return Listing()  # type: ignore[no-untyped-call]


def _formulas() -> dict[Any, Callable[..., int]]:
    """What PyTorch's own counter lacks; arguments are those of the operators, shapes for tensors.

    A key that is an overload (`.default`) keeps the counter from taking the operator apart.
    """
    import torch

    aten = torch.ops.aten
    formulas: dict[Any, Callable[..., int]] = {
        aten.grid_sampler_2d: _grid_sample,
        aten._embedding_bag: _embedding_bag,  # noqa: SLF001 - the name of the operator
        aten._embedding_bag_forward_only: _embedding_bag,  # noqa: SLF001
        aten.upsample_bilinear2d: _resize("bilinear"),
        aten.upsample_bilinear2d.vec: _resize("bilinear"),
        aten.upsample_nearest2d: _resize("nearest"),
        aten.upsample_nearest2d.vec: _resize("nearest"),
        aten.upsample_bicubic2d: _resize("bicubic"),
        aten.upsample_bicubic2d.vec: _resize("bicubic"),
        aten.linalg_vecdot: _dot_products,
        aten.linalg_vecdot.default: _dot_products,
        aten.mv: _dot_products,
        aten.dot: _dot_products,
    }
    on_cpu = getattr(aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if on_cpu is not None:
        formulas[on_cpu] = _attention
    return formulas


def _multiply_adds(number: int) -> int:
    return 2 * number


def _grid_sample(
    _x: Shape, _grid: Shape, mode: int, *_: object, out_shape: Shape, **__: object
) -> int:
    return _multiply_adds(_TAPS[_GRID_SAMPLE_MODES[mode]] * math.prod(out_shape))


def _resize(mode: str) -> Callable[..., int]:
    def formula(*_: object, out_shape: Shape, **__: object) -> int:
        return _multiply_adds(_TAPS[mode] * math.prod(out_shape))

    return formula


def _embedding_bag(
    table: Shape,
    indices: Shape,
    _offsets: Shape,
    _scale_grad: bool = False,
    _mode: int = 0,
    _sparse: bool = False,
    per_sample_weights: Shape | None = None,
    *_: object,
    **__: object,
) -> int:
    """A weighted sum of rows is a multiply-add a value; without weights an addition."""
    values = math.prod(indices) * table[1]
    return values if per_sample_weights is None else _multiply_adds(values)


def _dot_products(
    x: Shape, _y: Shape, *_: object, dim: int = -1, out_shape: Shape, **__: object
) -> int:
    return _multiply_adds(math.prod(out_shape) * x[dim])


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    """Queries by keys, and the weights by values; the softmax is not counted."""
    batch, heads, queries, channels = query
    pairs = batch * heads * queries * key[2]
    return _multiply_adds(pairs * channels) + _multiply_adds(pairs * value[3])
