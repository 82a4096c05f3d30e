"""Counts what a step asks of the device: operations, and the bytes that they read and write."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts PyTorch's operations in its block, and the bytes of their inputs and outputs.

    Operations that only look at a tensor in another way, or make an empty one, are left out. The
    bytes are what moves where no cache keeps anything from one operation to the next.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        given = _tensors((args, kwargs))
        # Before the call, which may change what it is given.
        read = sum(map(_bytes, given))
        places = {tensor.untyped_storage()._cdata for tensor in given}
        by_name = dict(zip((known.name for known in schema.arguments), args, strict=False)) | kwargs
        changed = [
            by_name.get(known.name)
            for known in schema.arguments
            if known.alias_info is not None and known.alias_info.is_write
        ]
        result = func(*args, **kwargs)
        made = [t for t in _tensors(result) if t.untyped_storage()._cdata not in places]
        if changed or (made and "empty" not in schema.name):
            self.count += 1
            self.bytes += read + sum(map(_bytes, [*made, *_tensors(changed)]))
        return result


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    """The bytes behind the elements of `tensor`: those of one that is expanded count once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
