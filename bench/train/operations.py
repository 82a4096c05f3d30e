"""Counts what a step asks of the device: operations, their FLOPs, and the bytes that move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry


def _of_gradients(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any, **_: Any) -> int:
    """FLOPs of a convolution's gradients: each of the two that are asked for costs as much as it.

    PyTorch's formula takes that of the weights as if every group saw all channels: of a depthwise
    convolution of 64 channels 64 times too much.
    """
    _, _, _, _, transposed, _, _, asked = rest
    once = conv_flop_count([*x.shape], [*weight.shape], [*grad.shape], transposed=transposed)
    return int(sum(asked[:2])) * once


FORMULAS: dict[Any, Any] = {**flop_registry, torch.ops.aten.convolution_backward: _of_gradients}
"""Those of the FLOPs of an operation, from its arguments and its result."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts PyTorch's operations in its block, their FLOPs, and the bytes of inputs and outputs.

    FLOPs are by the formulas of `torch.utils.flop_counter`, but for one: see `FORMULAS`. Its own
    counter follows modules, too, and takes twice the time. Operations that only look at a tensor in
    another way, or make an empty one, are left out of the others. The bytes are what moves where no
    cache keeps anything from one operation to the next.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.bytes = 0
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        known = _known(func)
        given = [*_tensors(args), *_tensors(kwargs.values())]
        # Before the call, which may change what it is given.
        read = sum(map(_bytes, given))
        places = {tensor.untyped_storage()._cdata for tensor in given}
        changed = [
            *_tensors(args[place] for place in known.changes if place < len(args)),
            *_tensors(kwargs.get(name) for name in known.changes_by_name),
        ]
        result = _run(func, args, kwargs)
        made = [t for t in _tensors([result]) if t.untyped_storage()._cdata not in places]
        if changed or (made and not known.is_empty):
            self.count += 1
            self.bytes += read + sum(map(_bytes, [*made, *changed]))
        if known.flops is not None:
            self.flops += known.flops(*args, **kwargs, out_val=result)
        return result


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `func` gives; on `meta` only the shape of samples, which take 0.1 s each to compute."""
    if func is torch.ops.aten.grid_sampler_2d.default and args[0].is_meta:
        frames, grid, *_ = args
        return frames.new_empty((*frames.shape[:2], *grid.shape[1:3]))
    return func(*args, **kwargs)


class _Known(NamedTuple):
    """What is known of an operation without its inputs."""

    changes: tuple[int, ...]
    """Places of the arguments that it writes to."""
    changes_by_name: tuple[str, ...]
    is_empty: bool
    """Whether what it makes is not written."""
    flops: Any
    """The formula of its FLOPs, where there is one."""


@cache
def _known(func: Any) -> _Known:
    schema = func._schema
    written = [
        (place, argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return _Known(
        tuple(place for place, _ in written),
        tuple(name for _, name in written),
        "empty" in schema.name,
        FORMULAS.get(func.overloadpacket),
    )


def _tensors(values: Iterable[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _bytes(tensor: Tensor) -> int:
    """The bytes behind the elements of `tensor`: those of one that is expanded count once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
