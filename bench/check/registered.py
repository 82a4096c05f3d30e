"""Weights that a loss depends on must be parameters of the model: only these train and are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, ValuesView
from typing import Any

from torch import Tensor, nn

from bench.check.promises import ContractBroken, require_loss


def require_registered(model: nn.Module, losses: Callable[[], Iterable[Tensor]]) -> None:
    """Raise `ContractBroken` where `losses` of `model` depend on a weight that it does not own.

    What is made anew for each loss, such as a clip whose gradient is asked for, is no weight.
    """
    twice = [dict[int, Tensor](), dict[int, Tensor]()]
    for found in twice:
        for loss in losses():
            require_loss(loss)
            found.update((id(leaf), leaf) for leaf in _leaves(loss))
    own = {id(parameter) for parameter in model.parameters()}
    for key in (twice[0].keys() & twice[1].keys()) - own:
        leaf = twice[0][key]
        raise ContractBroken(
            f"a weight of shape {list(leaf.shape)}{_place(model, leaf)} is no parameter of the"
            " model, so it neither trains nor is kept: use nn.Parameter, and nn.ModuleList for a"
            " list of modules"
        )


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """The tensors that the gradient of `loss` ends at."""
    todo, seen = [loss.grad_fn], set[Any]()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if hasattr(node, "variable"):
                yield node.variable
            todo += [before for before, _ in node.next_functions]


def _place(model: nn.Module, leaf: Tensor) -> str:
    """Where a module holds `leaf`, as ` in self.cells`; "" where that is not to be seen."""
    for module in model.modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and any(weight is leaf for weight in _weights(value)):
                return f" in self.{name}"
    return ""


def _weights(value: object) -> Iterator[object]:
    """Those of an attribute: a tensor, a module, or a list or dictionary of these."""
    held = value.values() if isinstance(value, dict) else value
    for one in held if isinstance(held, list | tuple | ValuesView) else [held]:
        yield from one.parameters() if isinstance(one, nn.Module) else [one]
