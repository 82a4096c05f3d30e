"""LPIPS (AlexNet, version 0.1) with the weights of the `lpips` package, batched.

The forward pass equals the package's but is our own, and needs neither torchvision nor the package
to be imported, which takes longer than a small test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.score import alexnet
from bench.score.metric import NotMeasured
from bench.score.precision import full_precision
from datasets.sources.folders import find

_WEIGHTS = "alexnet-owt-7be5be79.pth"
_URL = f"https://download.pytorch.org/models/{_WEIGHTS}"
_SHA256_PREFIX = "7be5be79"
_SILENCE_SECONDS = 10.0
_EPSILON = 1e-10  # the package's


class WeightsMissing(NotMeasured):
    """The weights are not available; the message is the reason, in one line."""


class Perceptual:
    """The LPIPS distance of frames: 0 for equal ones, lower is better.

    Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric";
    linear weights v0.1 from the package, backbone torchvision's ImageNet AlexNet.
    """

    def __init__(self, features: alexnet.Features, linear: list[Tensor]) -> None:
        self._features, self._linear = features, linear

    @classmethod
    def load(cls, device: torch.device) -> Perceptual:
        """The metric, ready on `device`.

        AlexNet's weights are taken from torch hub's cache or the folder `lpips` of the data
        folder, else downloaded into that cache; a download that failed is not tried again by
        this process.

        Raises:
            WeightsMissing: where the weights can be neither found, fetched nor read.
        """
        path = weights_file()
        try:
            features, linear = alexnet.read(read(path), device), _linear()
        except Exception as error:  # an unusable file costs only this metric
            reason = str(error).strip().partition("\n")[0]
            raise WeightsMissing(f"AlexNet's weights in {path} are unusable: {reason}") from error
        return cls(features, [weights.to(device) for weights in linear])

    @torch.no_grad()
    def __call__(
        self, prediction: Tensor, truth: Tensor, slope: float = 2, offset: float = -1
    ) -> Tensor:
        """The distance of each frame [...] of prediction and truth [...,C,H,W] in [0,1].

        Of frames brought to `slope` x + `offset`: by default to [-1,1], on which it was calibrated.
        Grey is repeated to three channels.

        Raises:
            NotMeasured: where AlexNet cannot take frames of that shape.
        """
        *leading, channels, height, width = truth.shape
        if channels not in (1, 3):
            raise NotMeasured(f"LPIPS needs grey or colour frames, not {channels} channels")
        if min(height, width) < alexnet.SMALLEST_SIDE:
            smallest = f"{alexnet.SMALLEST_SIDE}x{alexnet.SMALLEST_SIDE}"
            raise NotMeasured(f"LPIPS needs frames of at least {smallest}, not {height}x{width}")
        at_once = max(1, self._features.pixels_at_once // (height * width))
        chunks = [torch.split(x.flatten(0, -4).float(), at_once) for x in (prediction, truth)]
        with full_precision(truth.device):
            distances = [
                self._distance(*(self._features(frames, slope, offset) for frames in pair))
                for pair in zip(*chunks, strict=True)
            ]
        return torch.cat(distances).reshape(leading)

    def _distance(self, prediction: Iterator[Tensor], truth: Iterator[Tensor]) -> Tensor:
        """The distance [N] of frames with these features."""
        layers = zip(prediction, truth, self._linear, strict=True)
        return torch.stack([_difference(ours, true) @ linear for ours, true, linear in layers]).sum(
            0
        )


@cache
def loaded(device: torch.device) -> Perceptual:
    """The metric on `device`, loaded once a process.

    Raises:
        WeightsMissing: as `Perceptual.load`.
    """
    return Perceptual.load(device)


def _difference(prediction: Tensor, truth: Tensor) -> Tensor:
    """The squared difference of unit features [H,W,N,C], mean over pixels: [N,C]."""
    return _unit(prediction).sub_(_unit(truth)).square_().mean((0, 1))


def _unit(features: Tensor) -> Tensor:
    """`features` [H,W,N,C] divided by their length in each pixel."""
    length: Tensor = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    return features / length.add_(_EPSILON)


def _linear() -> list[Tensor]:
    """The weights [C] of each layer's features, from the package."""
    package = find_spec("lpips")  # which does not import it
    folder = Path(str(package and package.origin)).with_name("weights")
    weights = torch.load(folder / "v0.1" / "alex.pth", map_location="cpu", weights_only=True)
    return [weights[f"lin{layer}.model.1.weight"].flatten() for layer in range(5)]


def weights_file() -> Path:
    """The file of AlexNet's ImageNet weights, downloaded where it is not here."""
    cached = Path(torch.hub.get_dir(), "checkpoints", _WEIGHTS)
    if cached.exists():
        return cached
    found = find("lpips/alexnet_torchvision_features.npz", f"lpips/{_WEIGHTS}")
    if found:
        return found
    if failure := _download(cached):
        raise WeightsMissing(f"no ImageNet weights of AlexNet here, and {_URL} failed: {failure}")
    return cached


@cache
def _download(target: Path) -> str:
    """Fetch the weights and check their hash; the result is why that failed, or nothing."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)  # a firewall that drops packets must not hang us
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_URL, str(target), _SHA256_PREFIX, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        return str(error) or type(error).__name__
    finally:
        socket.setdefaulttimeout(timeout)
    return ""


def read(path: Path) -> dict[str, Tensor]:
    """AlexNet's parameters by torchvision's names, from its own file or an npz of `features`."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
