"""How much fine detail a frame has, by its power spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

CUTOFF = 1 / 8
"""Cycles a pixel from which on detail is fine: of structures that repeat within 8 pixels."""
NOISE = 1e-12
"""What float32 leaves of an even frame; less detail than this is none."""
_PIXELS_IN_CACHE, _PIXELS_ON_ACCELERATOR = 2**16, 2**22


def detail(frames: Tensor) -> Tensor:
    """The power of fine detail [...] of `frames` [...,C,H,W] in [0,1]: their mean square, in [0,1].

    The mean g over channels, less its mean m under the window w, is windowed against the edges, and
    the power of its discrete Fourier transform F is summed over the radial frequencies f from
    `CUTOFF` on, in cycles a pixel:

        detail = sum over |f| >= 1/8 of |F[w (g - m)](f)|² / (H W sum of w²)

    with Hann's window of either axis at the pixels' centres, w(n) = sin²(pi (n + 1/2) / N). By
    Parseval's theorem a grating of amplitude a has a²/2, however large the frame. Source of the
    windowed estimate: P. Welch, IEEE Transactions on Audio and Electroacoustics 15 (1967).
    """
    height, width = frames.shape[-2:]
    window = _hann(height, frames.device)[:, None] * _hann(width, frames.device)
    weights = _weights(height, width, window)
    pixels = _PIXELS_IN_CACHE if frames.device.type == "cpu" else _PIXELS_ON_ACCELERATOR
    at_once = max(1, pixels // (height * width))
    found = []
    for planes in torch.split(frames.reshape(-1, *frames.shape[-3:]), at_once):
        grey = planes[:, 0].float() if planes.shape[1] == 1 else planes.float().mean(1)
        mean = (grey * window).sum((-2, -1), keepdim=True) / window.sum()
        spectrum = torch.fft.rfft2((grey - mean) * window)
        power = torch.view_as_real(spectrum).square_()  # of the real and the imaginary part
        # No matrix product, which autocast and TensorFloat-32 would round.
        found.append(power.flatten(1).mul_(weights).sum(1))
    total = torch.cat(found).reshape(frames.shape[:-3])
    return total.masked_fill(total < NOISE, 0.0)


def _hann(length: int, device: torch.device) -> Tensor:
    """Hann's window of that many pixels: nowhere 0, and so of use for the shortest side."""
    places = torch.arange(length, device=device, dtype=torch.float32)
    return ((places + 0.5) * (torch.pi / length)).sin().square()


def _weights(height: int, width: int, window: Tensor) -> Tensor:
    """What each value of the half spectrum counts, real and imaginary parts: [H*(W//2+1)*2]."""
    rows = torch.fft.fftfreq(height, device=window.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=window.device)
    counted = (rows.square() + columns.square() >= CUTOFF**2).float()
    counted[:, 1 : (width + 1) // 2] *= 2  # their mirror images, which rfft2 leaves out
    weights: Tensor = counted / (height * width * window.square().sum())
    return weights.flatten().repeat_interleave(2)
