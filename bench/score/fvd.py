"""The Fréchet video distance between predicted and true clips, by an I3D network.

Unterthiner et al. 2018, "Towards accurate generative models of video: a new metric & challenges".
The protocol, on which the figure depends: all test clips, at least `FVD_CLIPS`; of each up to the
last `NEEDED_CONTEXT` frames of the context and the whole horizon, predicted or true; the 400 logits
of I3D trained on Kinetics-400, of frames resized so that the shorter side has 224 pixels, bilinear,
cropped to their middle, on [-1, 1], grey repeated to three channels; unbiased covariances.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score.metric import NotMeasured
from bench.score.precision import full_precision
from datasets.sources.folders import find

FILE = "i3d_torchscript.pt"
SIDE = 224
_CLIPS_AT_ONCE = 8  # of which I3D keeps about a GB

Features = Callable[[Tensor], Tensor]
"""Clips [B,3,T,224,224] in [-1,1] -> features [B,D]."""


@cache
def loaded(device: torch.device) -> Features:
    """I3D on `device`, loaded once a process.

    Its TorchScript file is taken from torch hub's cache or the folder `fvd` of the data folder.

    Raises:
        NotMeasured: where it is not there, cannot be read, or the device is a CPU.
    """
    path = weights_file()
    if device.type == "cpu":
        raise NotMeasured("I3D takes a CPU longer than most trainings: FVD needs an accelerator")
    return read(path, device)


def read(path: Path, device: torch.device) -> Features:
    """The network of the TorchScript file at `path`.

    Raises:
        NotMeasured: it cannot be read.
    """
    load: Any = torch.jit.load
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch would have another format
            network = load(str(path), map_location=device).eval()
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise NotMeasured(f"the weights of I3D in {path} are unusable: {reason}") from error
    return partial(network, rescale=False, resize=False, return_features=True)


def weights_file() -> Path:
    """The file of I3D.

    Raises:
        NotMeasured: there is none.
    """
    cached = Path(torch.hub.get_dir(), "checkpoints", FILE)
    found = cached if cached.exists() else find(f"fvd/{FILE}")
    if found is None:
        raise NotMeasured(f"no weights of I3D: put {FILE} into fvd/ of the data folder")
    return found


@torch.no_grad()
def sums(features: Features, clips: Tensor) -> Tensor:
    """What the distance needs of `clips` [B,T,C,H,W] in [0,1], which adds up: float64 [1+D+D*D].

    That is how many they are, the sum of their features, and that of the products of two.
    """
    with full_precision(clips.device):
        parts = [features(prepared(part)) for part in torch.split(clips, _CLIPS_AT_ONCE)]
    found = torch.cat(parts).cpu().double()  # an Apple GPU has no float64
    count = torch.tensor([float(len(found))], dtype=torch.float64)
    return torch.cat((count, found.sum(0), (found.T @ found).flatten()))


def prepared(clips: Tensor) -> Tensor:
    """`clips` [B,T,C,H,W] in [0,1] as I3D takes them: [B,3,T,224,224] in [-1,1]."""
    count, frames, _, height, width = clips.shape
    scale = SIDE / min(height, width)
    size = max(SIDE, round(height * scale)), max(SIDE, round(width * scale))
    resized = F.interpolate(clips.flatten(0, 1), size, mode="bilinear", align_corners=False)
    top, left = ((side - SIDE) // 2 for side in size)
    middle = resized[..., top : top + SIDE, left : left + SIDE]
    videos = middle.reshape(count, frames, -1, SIDE, SIDE).transpose(1, 2)
    return (2 * videos - 1).expand(-1, 3, -1, -1, -1)


def distance(total: Tensor) -> float:
    """The Fréchet distance of two sets of features from their `sums`, [2,1+D+D*D].

    Of Gaussians of their means m and unbiased covariances S:

        |m1 - m2|² + trace of (S1 + S2 - 2 root of (S1 S2))

    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions",
    Journal of Multivariate Analysis 12 (1982).
    """
    size = round((total.shape[1] - 0.75) ** 0.5 - 0.5)  # 1 + D + D² = (D + 1/2)² + 3/4
    means, covariances = [], []
    for count, first, second in (one.split((1, size, size**2)) for one in total):
        mean = first / count
        means.append(mean)
        scatter = second.view(size, size) - count * mean.outer(mean)
        covariances.append(scatter / (count - 1))
    root = _root(covariances[0])
    # The eigenvalues of root S2 root are those of S1 S2, and it is symmetric.
    both = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp(min=0).sqrt().sum()
    traces = covariances[0].trace() + covariances[1].trace()
    return float((means[0] - means[1]).square().sum() + traces - 2 * both)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root
