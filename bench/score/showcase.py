"""The test sequences whose predicted frames are kept: the same for every model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.score.frames import mse
from bench.train.held_out import HeldOut, Pass, to_float
from datasets.contract import to_bytes

FIRST, WORST, MEDIAN = "first", "worst for copy-last", "median for copy-last"


def chosen(held_out: HeldOut, context_frames: int, count: int) -> dict[int, str]:
    """Up to `count` positions in the split and why each was chosen, in the order to show them.

    A third are the first sequences, a third those whose horizon is least like the last context
    frame, a third those in the middle by that: no model has a part in the choice.
    """
    if count < 1:
        return {}
    ranking = np.argsort(_copying_errors(held_out, context_frames), kind="stable").tolist()
    middle = ranking[len(ranking) // 2 :] + ranking[: len(ranking) // 2][::-1]
    orders = {FIRST: [*range(held_out.count)], WORST: ranking[::-1], MEDIAN: middle}
    found: dict[int, str] = {}
    for turn, (why, order) in enumerate(orders.items()):
        free = [position for position in order if position not in found]
        found |= dict.fromkeys(free[: (count + 2 - turn) // 3], why)
    return found


def _copying_errors(held_out: HeldOut, context_frames: int) -> NDArray[np.float64]:
    """The MSE of the last context frame over the horizon, of every sequence [N]."""
    found = []
    for first in range(0, held_out.count, held_out.batch_size):
        last = min(first + held_out.batch_size, held_out.count)
        # On the CPU: no truth may lie on the device before it is predicted.
        frames = to_float(held_out.clips[first:last], torch.device("cpu"))
        past, truth = frames[:, :context_frames], frames[:, context_frames:]
        found.append(mse(past[:, -1:].expand_as(truth), truth).mean(1))
    return torch.cat(found).double().numpy()


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
