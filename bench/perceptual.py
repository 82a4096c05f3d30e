"""LPIPS (AlexNet, version 0.1) by the `lpips` package, batched; its weights found or fetched."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.metrics import NotMeasured, full_precision
from datasets.folders import find
from datasets.torchvision_import import import_torchvision

_WEIGHTS = "alexnet-owt-7be5be79.pth"
_URL = f"https://download.pytorch.org/models/{_WEIGHTS}"
_SHA256_PREFIX = "7be5be79"
_SILENCE_SECONDS = 10.0
_SMALLEST_SIDE = 31
_CHUNK_FRAMES = 128


class WeightsMissing(NotMeasured):
    """AlexNet's ImageNet weights cannot be had; the message is the reason, in one line."""


class Perceptual:
    """The LPIPS distance of frames: 0 for equal ones, lower is better.

    Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric";
    linear weights v0.1 from the package, backbone torchvision's ImageNet AlexNet.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

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
        except Exception as error:  # whatever is wrong with that file, only this metric is lost
            reason = str(error).strip().partition("\n")[0]
            raise WeightsMissing(f"AlexNet's weights in {path} are unusable: {reason}") from error
        return cls(network.to(device))

    @torch.no_grad()
    def __call__(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance of each frame [...] of prediction and truth [...,C,H,W] in [0,1].

        Grey is repeated to three channels.

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
            chunks = zip(_inputs(prediction), _inputs(truth), strict=True)
            distances = [self._network(*pair).flatten() for pair in chunks]
        return torch.cat(distances).reshape(leading)


def _inputs(frames: Tensor) -> Iterator[Tensor]:
    """The frames in chunks [N,3,H,W] in [-1,1]."""
    for chunk in torch.split(frames.flatten(0, -4), _CHUNK_FRAMES):
        yield (2 * chunk.float() - 1).expand(-1, 3, -1, -1)


def _weights_file() -> Path:
    """Where AlexNet's ImageNet weights lie, once they do."""
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
