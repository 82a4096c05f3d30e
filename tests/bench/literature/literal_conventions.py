"""The published computations of figures, transcribed in NumPy and scikit-image.

Each takes predictions as the model gave them and truths [N,T,C,H,W], float32, truths in [0,1], and
what LPIPS is of two batches of frames [N,3,H,W] as they are; quirks are kept. Only what present
scikit-image refuses is written out: `multichannel`, and the data range of float images, which was
that of their type, 2, up to version 0.19.3.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

Array = npt.NDArray[np.float32]
Lpips = Callable[[Array, Array], npt.NDArray[np.floating]]

RANGE_OF_FLOATS = 2.0


def openstl(prediction: Array, truth: Array, lpips: Lpips | None) -> dict[str, float]:
    found = {
        "mse": np.mean((prediction - truth) ** 2, axis=(0, 1)).sum(),
        "mae": np.mean(np.abs(prediction - truth), axis=(0, 1)).sum(),
    }
    prediction = np.minimum(np.maximum(prediction, 0), 1)
    sequences, frames = prediction.shape[:2]
    ssim = psnr = distance = 0.0
    for n in range(sequences):
        for t in range(frames):
            ssim += structural_similarity(
                prediction[n, t].swapaxes(0, 2),
                truth[n, t].swapaxes(0, 2),
                data_range=RANGE_OF_FLOATS,
                channel_axis=2,
            )
            mse = np.mean((prediction[n, t] - truth[n, t]) ** 2)
            psnr += float("inf") if mse == 0 else 20 * np.log10(1 / np.sqrt(mse))
            if lpips:
                # From [0,255] as bytes would be, though they stay floats.
                frames_255 = prediction[n, t][None] * 255, truth[n, t][None] * 255
                distance += lpips(*(_colour(frame / 127.5 - 1) for frame in frames_255)).item()
    count = sequences * frames
    found |= {"psnr": psnr / count, "ssim": ssim / count}
    return found | ({"lpips": distance / count} if lpips else {})


def predrnn(
    prediction: Array, truth: Array, lpips: Lpips | None, batch_size: int
) -> tuple[dict[str, float], int]:
    """The figures, and of how many sequences: the last batch, even a whole one, is left out."""
    frames = truth.shape[1]
    total, batches = 0.0, 0
    psnr, ssim, distance = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    position = 0
    while not position + batch_size >= len(truth):
        batches += 1
        of_batch = slice(position, position + batch_size)
        for t in range(frames):
            x, gx = truth[of_batch, t], prediction[of_batch, t]
            gx = np.minimum(np.maximum(gx, 0), 1)
            total += np.square(x - gx).sum()
            if lpips:
                distance[t] += lpips(_colour(x), _colour(gx)).mean()
            real, predicted = np.uint8(x * 255), np.uint8(gx * 255)
            difference = np.int32(predicted) - np.int32(real)
            mse = np.sum(difference**2, axis=(1, 2, 3), dtype=np.float32) / real[0].size
            with np.errstate(divide="ignore"):
                psnr[t] += np.mean(20 * np.log10(255) - 10 * np.log10(mse))
            for n in range(batch_size):
                ssim[t] += structural_similarity(predicted[n], real[n], channel_axis=0)
        position += batch_size
    kept = batches * batch_size
    found = {
        "mse": total / kept,
        "mse_per_frame": total / kept / frames,
        "psnr": np.mean(psnr / batches),
        "ssim": np.mean(ssim / kept),
    }
    return found | ({"lpips": np.mean(distance / batches)} if lpips else {}), kept


def ucf101_study(prediction: Array, truth: Array, batch_size: int) -> dict[str, float]:
    """Predictions are in [0,1], for its models end in a sigmoid."""
    losses, grey, colour = [], [], []
    for first in range(0, len(truth), batch_size):
        p, t = prediction[first : first + batch_size], truth[first : first + batch_size]
        losses.append(np.mean((p - t) ** 2))
        pairs = list(zip(p.reshape(-1, *p.shape[2:]), t.reshape(-1, *t.shape[2:]), strict=True))
        grey.append(
            np.mean([structural_similarity(b.mean(0), a.mean(0), data_range=1) for a, b in pairs])
        )
        colour.append(
            np.mean([structural_similarity(b, a, data_range=1, channel_axis=0) for a, b in pairs])
        )
    return {
        "mse": float(np.mean(losses)),
        "ssim": float(np.mean(grey)),
        "ssim_colour": float(np.mean(colour)),
    }


def lmc(prediction: Array, truth: Array, lpips: Lpips | None, batch_size: int) -> dict[str, float]:
    prediction = np.clip(prediction, 0, 1)
    frames, side = truth.shape[1], truth.shape[-1]
    sums: dict[str, float] = {}
    for first in range(0, len(truth), batch_size):
        p, t = prediction[first : first + batch_size], truth[first : first + batch_size]
        mse, psnr, ssim, distance = (np.zeros(frames) for _ in range(4))
        for frame in range(-frames, 0):
            for n in range(len(t)):
                pair = t[n, frame].transpose(1, 2, 0), p[n, frame].transpose(1, 2, 0)
                mse[frame] += mean_squared_error(*pair) / len(t)
                psnr[frame] += peak_signal_noise_ratio(*pair, data_range=1) / len(t)
                ssim[frame] += structural_similarity(
                    *pair, data_range=RANGE_OF_FLOATS, channel_axis=2
                ) / len(t)
            if lpips:
                distance[frame] += np.mean(lpips(_colour(t[:, frame]), _colour(p[:, frame])))
        mse *= side**2
        of_batch = {"mse": mse, "psnr": psnr, "ssim": ssim}
        of_batch |= {"lpips": distance} if lpips else {}
        for name, values in of_batch.items():
            sums[name] = sums.get(name, 0) + np.mean(values) * len(t)
    return {name: value / len(truth) for name, value in sums.items()}


def _colour(frames: Array) -> Array:
    return np.repeat(frames, 3, axis=1) if frames.shape[1] == 1 else frames
