"""LPIPS (AlexNet, version 0.1) with the weights of the `lpips` package, batched, on two scales.

The forward pass equals the package's but is our own: half of the package's time on a CPU is not
spent in convolutions, and here both scales share the first layer.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.score.metrics import NotMeasured
from bench.score.precision import full_precision
from datasets.sources.folders import find
from datasets.sources.torchvision_import import import_torchvision

_WEIGHTS = "alexnet-owt-7be5be79.pth"
_URL = f"https://download.pytorch.org/models/{_WEIGHTS}"
_SHA256_PREFIX = "7be5be79"
_SILENCE_SECONDS = 10.0
_SMALLEST_SIDE = 31
_CHUNK_FRAMES = 128
_EPSILON = 1e-10  # the package's
_SCALES = {"lpips": (2, -1), "lpips_unscaled": (1, 0)}  # a and b of the input a x + b


class WeightsMissing(NotMeasured):
    """AlexNet's ImageNet weights are not available; the message is the reason, in one line."""


class Perceptual:
    """The LPIPS distance of frames: 0 for equal ones, lower is better.

    Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric";
    linear weights v0.1 from the package, backbone torchvision's ImageNet AlexNet.
    """

    package: Any
    """The network of the `lpips` package, for frames [N,3,H,W] on the scale that is asked for."""

    def __init__(self, network: Any) -> None:
        self.package = network
        self._slices = [getattr(network.net, f"slice{number}") for number in range(1, 6)]
        self._linear = [layer.model[-1].weight.flatten() for layer in network.lins]

    @classmethod
    def load(cls, device: torch.device) -> Perceptual:
        """The metric, ready on `device`.

        AlexNet's weights are taken from torch hub's cache or the folder `lpips` of the data
        folder, else downloaded into that cache; a download that failed is not tried again by
        this process.

        Raises:
            WeightsMissing: where the weights can be neither found, fetched nor read.
        """
        path = _weights_file()
        try:
            with _quiet():
                network = _network(_read(path))
        except Exception as error:  # an unusable file costs only this metric
            reason = str(error).strip().partition("\n")[0]
            raise WeightsMissing(f"AlexNet's weights in {path} are unusable: {reason}") from error
        return cls(network.to(device))

    @torch.no_grad()
    def __call__(self, prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The distances of each frame [...] of prediction and truth [...,C,H,W] in [0,1], by name.

        `lpips` is of frames brought to [-1,1], on which it was calibrated, `lpips_unscaled` of
        frames left in [0,1], as some published code has it. Grey is repeated to three channels.

        Raises:
            NotMeasured: where AlexNet cannot take frames of that shape.
        """
        *leading, channels, height, width = truth.shape
        if channels not in (1, 3):
            raise NotMeasured(f"LPIPS needs grey or colour frames, not {channels} channels")
        if min(height, width) < _SMALLEST_SIDE:
            smallest = f"{_SMALLEST_SIDE}x{_SMALLEST_SIDE}"
            raise NotMeasured(f"LPIPS needs frames of at least {smallest}, not {height}x{width}")
        with full_precision(truth.device):
            chunks = zip(_chunks(prediction), _chunks(truth), strict=True)
            distances = torch.cat([self._distances(*pair) for pair in chunks], 1)
        return dict(zip(_SCALES, distances.reshape(-1, *leading), strict=True))

    def _distances(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance on every scale of frames [N,C,H,W]: [scales,N]."""
        pairs = zip(self._first_layer(prediction), self._first_layer(truth), strict=True)
        return torch.stack([self._distance(*pair) for pair in pairs])

    def _first_layer(self, frames: Tensor) -> list[Tensor]:
        """The first features of `frames` on every scale.

        They are of a (linear) convolution: that of a x + b is a times that of x and that of b.
        """
        convolution, activation = self._slices[0]
        shift, scale = self.package.scaling_layer.shift, self.package.scaling_layer.scale
        kernel = convolution.weight / scale
        if frames.shape[1] == 1:
            kernel = kernel.sum(1, keepdim=True)
        filtered = F.conv2d(frames, kernel, None, convolution.stride, convolution.padding)
        size = 1, 3, *frames.shape[2:]
        constants = [((b - shift) / scale).expand(size) for _, b in _SCALES.values()]
        return [
            activation(convolution(constant).add(filtered, alpha=a))
            for (a, _), constant in zip(_SCALES.values(), constants, strict=True)
        ]

    def _distance(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance [N] of frames whose first features are given."""
        total: Tensor = _difference(prediction, truth) @ self._linear[0]
        for layers, linear in zip(self._slices[1:], self._linear[1:], strict=True):
            prediction, truth = layers(prediction), layers(truth)
            total += _difference(prediction, truth) @ linear
        return total


@cache
def loaded(device: torch.device) -> Perceptual:
    """The metric on `device`, loaded once a process.

    Raises:
        WeightsMissing: as `Perceptual.load`.
    """
    return Perceptual.load(device)


def _difference(prediction: Tensor, truth: Tensor) -> Tensor:
    """The squared difference of unit features [N,C,H,W], mean over pixels: [N,C]."""
    return _unit(prediction).sub_(_unit(truth)).square_().mean((-2, -1))


def _unit(features: Tensor) -> Tensor:
    """`features` [N,C,H,W] divided by their length in each pixel."""
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / length.add_(_EPSILON)


def _chunks(frames: Tensor) -> tuple[Tensor, ...]:
    """The frames [...,C,H,W] in float chunks [N,C,H,W]."""
    return torch.split(frames.flatten(0, -4).float(), _CHUNK_FRAMES)


def _weights_file() -> Path:
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


def _read(path: Path) -> dict[str, Tensor]:
    """AlexNet's parameters by torchvision's names, from its own file or an npz of `features`."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _network(backbone: dict[str, Tensor]) -> nn.Module:
    """The package's network around `backbone`."""
    import_torchvision()
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # The package's slices keep the layer numbers: "slice2.3.weight" is "features.3.weight".
    names = {name: "features." + name.partition(".")[2] for name in network.net.state_dict()}
    network.net.load_state_dict({name: backbone[source] for name, source in names.items()})
    return cast(nn.Module, network.requires_grad_(False).eval())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without third-party deprecation warnings, and without a trace in the random state."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield
