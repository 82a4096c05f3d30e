"""The test sequences whose predicted frames are kept: the same for every model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.train.held_out import Pass
from datasets.contract import to_bytes

FIRST, WORST, MEDIAN = "first", "worst for copy-last", "median for copy-last"


def chosen(copying_errors: Tensor, count: int) -> dict[int, str]:
    """Up to `count` positions in the split and why each was chosen, in the order to show them.

    A third are the first sequences, a third those whose horizon is least like the last context
    frame, a third those in the middle by that: no model has a part in the choice.

    Args:
        copying_errors: the MSE of copying the last frame over the horizon, of every sequence [N].
        count: how many to choose.
    """
    if count < 1:
        return {}
    ranking = np.argsort(copying_errors.double().numpy(), kind="stable").tolist()
    middle = ranking[len(ranking) // 2 :] + ranking[: len(ranking) // 2][::-1]
    orders = {FIRST: [*range(len(ranking))], WORST: ranking[::-1], MEDIAN: middle}
    found: dict[int, str] = {}
    for turn, (why, order) in enumerate(orders.items()):
        free = [position for position in order if position not in found]
        found |= dict.fromkeys(free[: (count + 2 - turn) // 3], why)
    return found


@dataclass(slots=True)
class Showcase:
    """Keeps the clips at the `chosen` positions, as bytes, while the batches pass."""

    chosen: dict[int, str]
    parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def take(self, batch: Pass, prediction: Tensor) -> None:
        """Keep of `batch` and its `prediction` [B,horizon,C,H,W] what was chosen."""
        places = [p - batch.first for p in self.chosen if 0 <= p - batch.first < len(batch.clips)]
        clips, horizon = to_bytes(batch.clips[places]).numpy(), prediction.shape[1]
        kept = (prediction[places] * 255).round().nan_to_num().byte()
        self.parts.append(
            {
                "context": clips[:, :-horizon],
                "truth": clips[:, -horizon:],
                "prediction": kept.cpu().numpy(),
                "sequence": np.array(places, np.int64) + batch.first,
            }
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The kept arrays, in the order of the choice; `why` has the reason of each."""
        names = self.parts[0]
        kept = {name: np.concatenate([part[name] for part in self.parts]) for name in names}
        order = [kept["sequence"].tolist().index(position) for position in self.chosen]
        why = np.array([*self.chosen.values()], np.str_)
        return {name: array[order] for name, array in kept.items()} | {"why": why}
