"""Sees to it that a model takes held-out clips one by one: it learns and remembers nothing.

Weights and buffers are compared before and after each pass, and after it some batches are shown
again, last first: an honest model's outputs are the same. A pass costs one copy of the weights, and
the batches shown again.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.errors import Invalid
from bench.train.hidden_state import changed, hidden_state, recorded

TOLERANCE = 1e-3
"""How far an output may be from that of the same batch before: the root mean square of the
difference, relative to that of the output or 1. A CPU repeats itself to the bit; on a GPU the order
of sums may vary."""


class Guard:
    """Watches one model during one pass."""

    def __init__(self, model: nn.Module, repeated: int) -> None:
        """Watch `model`; `repeated` batches are shown again."""
        self._model, self._repeated = model, repeated
        self._outputs: dict[int, Tensor] = {}

    def begin(self) -> None:
        """Remember the weights, before the first batch."""
        self._weights = {
            name: value.detach().clone() for name, value in recorded(self._model).items()
        }
        self._hidden = hidden_state(self._model) if self._repeated else {}
        self._outputs.clear()

    def seen(self, first: int, output: Tensor) -> None:
        """Remember the `output` of the batch at `first`, if it is among those shown again."""
        if len(self._outputs) < self._repeated:
            self._outputs[first] = output

    def end(self, again: Callable[[int], Tensor]) -> None:
        """Show batches `again`, the last first, and compare.

        Raises:
            Invalid: an output, a parameter or a buffer is another than before.
        """
        self._require_same_weights()
        for first, before in reversed(self._outputs.items()):
            self._require_same_output(before, again(first))
        self._require_same_weights()
        self._weights.clear()

    def _require_same_weights(self) -> None:
        different = changed(self._weights, recorded(self._model))
        if different:
            raise Invalid(
                f"the model changed {_named(different)} while held-out clips were evaluated:"
                " it may not learn from them"
            )

    def _require_same_output(self, before: Tensor, after: Tensor) -> None:
        apart = _size(after.float() - before.float()) if after.shape == before.shape else 1e9
        if apart <= TOLERANCE * max(1.0, _size(before.float())):
            return
        suspects = changed(self._hidden, hidden_state(self._model))
        kept = f": it changes {_named(suspects)}" if suspects else ""
        raise Invalid(
            f"the same clips have another output after other clips (they differ by {apart:.2g}),"
            f" so the model remembers between calls{kept}"
        )


def _size(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
