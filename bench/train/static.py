"""A training step that is the same work of the device each time, whatever the values are.

Such a step can be recorded once and replayed: shapes stay as they are, and nothing that the host
does depends on what the device computes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.train.held_out import Batch

Outcome = tuple[Tensor, dict[str, Tensor]]
"""The loss of a step, and the scalars that the model logged, by name; all on the device."""

Work = Callable[[Batch], Outcome]
"""All that a step does on the device."""


class Recording(Protocol):
    """Work on a batch that lies where it lay when it was recorded, and leaves its outcome there."""

    batch: Batch
    outcome: Outcome

    def replay(self) -> None:
        """Do the work again."""


Recorder = Callable[[Work, Batch, torch.Generator], Recording]
"""Records work on a batch, which draws from that generator and from PyTorch's own."""


class NotStatic(Exception):
    """The host takes part in a step: no recording of it would be the step."""


class NoHostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, what brings a computed value to the host, or takes one from it, is `NotStatic`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`.

        Raises:
            NotStatic: it reads a tensor, has an output whose shape depends on values, or copies
                between the host and the device.
        """
        if _reads_values(func, args):
            raise NotStatic(f"{_line()} reads the value of a tensor ({func})")
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        if func in _COPIES and len({tensor.device.type for tensor in tensors}) > 1:
            raise NotStatic(f"{_line()} moves a tensor between the host and the device")
        return out


_OF_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_MASKS = (torch.bool, torch.uint8)
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


def _reads_values(func: Any, args: Any) -> bool:
    """Whether an output of `func`, or its shape, needs values on the host."""
    if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_):
        return any(index is not None and index.dtype in _MASKS for index in args[1])
    return bool(_OF_VALUES & {*func.tags})


def _line() -> str:
    """The line of the model that is running, such as "mine.py:12"."""
    ours = (Path(torch.__file__).parent, Path(__file__).parents[1])
    for frame in reversed(traceback.extract_stack()):
        if not any(Path(frame.filename).is_relative_to(folder) for folder in ours):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "the step"
