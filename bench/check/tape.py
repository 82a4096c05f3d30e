"""A stand-in for a CUDA graph on any device: the operations of one step, replayed.

As a graph does, it runs Python once, while it records, and later the same operations in the same
memory: what the host decided meanwhile is frozen, and what a step draws is drawn anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from bench.train.held_out import Batch
from bench.train.static import NoHostReads, Work

RESHAPES = {"squeeze_", "unsqueeze_", "t_", "transpose_", "as_strided_", "detach_"}
"""What changes a tensor's shape alone, and in place: done once."""


class Tape:
    """A recording of `work`, which is done once meanwhile.

    Raises:
        NotStatic: the host takes part in it.
    """

    def __init__(self, work: Work, batch: Batch, generator: torch.Generator) -> None:
        del generator  # an operation that draws from it is recorded with it
        self.batch = batch
        with _Recorder() as recorder:
            self.outcome = work(batch)
        self._operations = recorder.operations

    @torch.no_grad()
    def replay(self) -> None:
        """Do the work again."""
        for function, args, kwargs, outputs in self._operations:
            new = function(*args, **kwargs)
            for place, value in zip(tree_leaves(outputs), tree_leaves(new), strict=True):
                if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                    place.copy_(value)


class _Recorder(NoHostReads):
    """Keeps each operation that computes, with tensors that share the memory of its own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        shapes_alone = func.is_view or name in RESHAPES or "empty" in name
        given = None if shapes_alone else _kept((args, kwargs or {}))
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if given is not None:
            self.operations.append((func, *given, _kept(out)))
        return out


def _kept(tree: Any) -> Any:
    """The same with tensors that keep their shape whatever is done to those given."""
    return tree_map_only(Tensor, torch.ops.aten.alias.default, tree)
