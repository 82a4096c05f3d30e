"""The arithmetic of the metrics of frames, and of ranks, on the device of the tensors.

Every function of frames takes prediction and truth [...,C,H,W] in [0,1] and returns one value per
frame [...]: leading dimensions, such as sequence and predicted frame, are kept. Values are float32,
and exact to that under any autocast or TensorFloat setting of the caller, on any device.
`Frames` caches the terms that several metrics of `metrics.py` share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score import events, fvd, lpips, physical, samples
from bench.score.metric import CHANGE, PERFECT_PSNR, ClipFacts, NotMeasured
from bench.score.spectrum import detail

_SSIM_WINDOW = 7
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_COVARIANCE_NORM = _SSIM_WINDOW**2 / (_SSIM_WINDOW**2 - 1)
_PIXELS_IN_CACHE, _PIXELS_ON_ACCELERATOR = 2**16, 2**22
"""Of the planes whose SSIM is computed at once, by measurement."""


@dataclass(frozen=True, eq=False)
class Frames:
    """The predicted frames of a batch with the true ones; shared terms are computed once.

    Attributes:
        prediction: float32 [B,T,C,H,W] clamped to [0,1].
        truth: float32 [B,T,C,H,W] in [0,1].
        output: the prediction before it was clamped.
        context: the last frames before, one or more, float32 [B,T,C,H,W] in [0,1].
        trivial_mse: of the trivial prediction that is best on each clip, by frame [B,T].
        clips: what is known of the clips beside their pixels.
        drawn: futures that the model draws, float32 [B,N,T,C,H,W] in [0,1]; None of most models.
    """

    prediction: Tensor
    truth: Tensor
    output: Tensor
    context: Tensor
    trivial_mse: Tensor
    clips: ClipFacts
    drawn: Tensor | None = None

    @classmethod
    def of(
        cls,
        output: Tensor,
        truth: Tensor,
        context: Tensor,
        trivial_mse: Tensor,
        clips: ClipFacts,
        drawn: Tensor | None = None,
    ) -> Frames:
        """The frames of a model's `output` [B,T,C,H,W] of any float type and range."""
        output = output.float()
        prediction, past = output.clamp(0, 1), context.float()
        return cls(prediction, truth.float(), output, past, trivial_mse, clips, drawn)

    @property
    def last(self) -> Tensor:
        """The last frame of the context [B,1,C,H,W]."""
        return self.context[:, -1:]

    @cached_property
    def unclamped(self) -> Frames:
        """The same with the prediction as the model gave it."""
        return replace(self, prediction=self.output)

    @cached_property
    def as_bytes(self) -> Frames:
        """The same quantised to 256 levels, rounded down, still in [0,1]."""
        prediction, truth = _cut_to_bytes(self.prediction), _cut_to_bytes(self.truth)
        return replace(self, prediction=prediction, truth=truth, output=prediction)

    @cached_property
    def grey(self) -> Frames:
        """The same with the mean over channels as the only channel."""
        if self.truth.shape[-3] == 1:
            return self
        prediction, truth = (x.mean(-3, keepdim=True) for x in (self.prediction, self.truth))
        return replace(self, prediction=prediction, truth=truth, output=prediction)

    @cached_property
    def mse(self) -> Tensor:
        """`mse` of each frame [B,T]."""
        return mse(self.prediction, self.truth)

    @property
    def mae(self) -> Tensor:
        """`mae` of each frame [B,T]."""
        return mae(self.prediction, self.truth)

    @property
    def psnr(self) -> Tensor:
        """`psnr` of each frame [B,T]."""
        return _decibels(self.mse)

    def ssim(self, data_range: int = 1) -> Tensor:
        """`ssim` of each frame [B,T], as if its values could span `data_range`.

        Raises:
            NotMeasured: where a side of the frame is shorter than the window.
        """
        return ssim(self.prediction, self.truth, data_range)

    @cached_property
    def changed(self) -> Tensor:
        """Where each frame differs from the last of the context: 1 there, else 0, [B,T,H,W].

        That is where one of the channels does by more than `CHANGE`.
        """
        changes = (self.truth - self.last).abs_().unbind(-3)
        return (reduce(torch.maximum, changes) > CHANGE).float()

    @property
    def changed_share(self) -> Tensor:
        """The share of the pixels of each frame [B,T] that change."""
        return self.changed.mean((-2, -1))

    @property
    def changed_error(self) -> Tensor:
        """The squared error on the pixels that change, over all of the frame's: [B,T]."""
        error = (self.prediction - self.truth).square_()
        return error.mul_(self.changed.unsqueeze(-3)).mean((-3, -2, -1))

    @property
    def detail(self) -> Tensor:
        """`detail` of each predicted frame [B,T]."""
        return detail(self.prediction)

    @property
    def true_detail(self) -> Tensor:
        """`detail` of each true frame [B,T]."""
        return detail(self.truth)

    @cached_property
    def motion_error(self) -> Tensor:
        """The mean squared error of the change that leads to each frame [B,T]."""
        error = self.prediction - self.truth
        return torch.cat((error[:, :1], error.diff(dim=1)), 1).square_().mean((-3, -2, -1))

    @cached_property
    def true_motion(self) -> Tensor:
        """The mean square of the change that leads to each true frame [B,T]."""
        frames = torch.cat((self.last, self.truth), 1)
        return frames.diff(dim=1).square_().mean((-3, -2, -1))

    def rmse(self) -> Tensor:
        """The RMSE of the first quantity of each frame [B,T], in its unit."""
        return self._span * physical.rmse(*self._first)

    def rmse_by_area(self) -> Tensor:
        """The same with each row weighted by the area it stands for."""
        return self._span * physical.rmse(*self._first, self._area_weights)

    def anomaly_correlation(self) -> Tensor:
        """That of the first quantity of each frame [B,T], against the climatology.

        Raises:
            NotMeasured: where the data set has none.
        """
        if self.clips.climatology is None:
            raise NotMeasured("the data set has no climatology that anomalies are told from")
        usual = self.clips.climatology[0].to(self.truth.device, torch.float32)
        return physical.anomaly_correlation(*self._first, usual, self._area_weights)

    def events(self, pool: int = 1) -> Tensor:
        """How the events of the first quantity were forecast: `events.counts`, [thresholds,4].

        Raises:
            NotMeasured: where the frames are smaller than the `pool`.
        """
        return self._events if pool == 1 else self._count_events(pool)

    @cached_property
    def _events(self) -> Tensor:
        return self._count_events(1)

    def _count_events(self, pool: int) -> Tensor:
        quantity = self.clips.spec.quantities[0]
        least = [(t - quantity.low) / self._span for t in self.clips.spec.thresholds]
        return events.counts(*self._first, least, pool)

    def fvd_sums(self) -> Tensor:
        """What FVD needs of the clips with predicted and with true frames: `fvd.sums` of both.

        Raises:
            NotMeasured: where I3D cannot be used here.
        """
        features = fvd.loaded(self.truth.device)
        clips = (torch.cat((self.context, x), 1) for x in (self.prediction, self.truth))
        return torch.stack([fvd.sums(features, each) for each in clips])

    @property
    def crps(self) -> Tensor:
        """`samples.crps` of each frame [B,T]."""
        return samples.crps(self._futures, self.truth)

    @property
    def mse_of_mean(self) -> Tensor:
        """`mse` of the mean of the drawn futures, of each frame [B,T]."""
        return mse(self._futures.mean(1), self.truth)

    @property
    def best_mse(self) -> Tensor:
        """`samples.best_mse` of each clip [B]."""
        return samples.best_mse(self._futures, self.truth)

    @property
    def best_ssim(self) -> Tensor:
        """The SSIM over the clip of the drawn future that is best in it, [B].

        Raises:
            NotMeasured: as of `ssim`.
        """
        truth = self.truth[:, None].expand_as(self._futures)
        return ssim(self._futures, truth).mean(2).amax(1)

    @property
    def _futures(self) -> Tensor:
        """The drawn futures [B,N,T,C,H,W].

        Raises:
            NotMeasured: there are none.
        """
        if self.drawn is None:
            raise NotMeasured("the model draws no futures")
        return self.drawn

    @property
    def _first(self) -> tuple[Tensor, Tensor]:
        """The first channel of prediction and truth, [B,T,H,W] each."""
        return self.prediction[:, :, 0], self.truth[:, :, 0]

    @property
    def _span(self) -> float:
        """What a difference of 1 stands for, in the unit of the first quantity."""
        quantity = self.clips.spec.quantities[0]
        return quantity.high - quantity.low

    @property
    def _area_weights(self) -> Tensor:
        return physical.area_weights(self.clips.spec.latitudes, self.truth.device)

    def lpips(self, slope: float = 2, offset: float = -1) -> Tensor:
        """The LPIPS distance of each frame [B,T], of frames brought to `slope` x + `offset`.

        Raises:
            NotMeasured: where AlexNet's weights are missing or it cannot take such frames.
        """
        return lpips.loaded(self.truth.device)(self.prediction, self.truth, slope, offset)


def mse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error over the elements of each frame; in [0,1] for frames in [0,1]."""
    return (prediction.float() - truth.float()).square().mean((-3, -2, -1))


def mae(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error over the elements of each frame; in [0,1] for frames in [0,1]."""
    return (prediction.float() - truth.float()).abs().mean((-3, -2, -1))


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB, for data range 1; at most 100."""
    return _decibels(mse(prediction, truth))


def ssim(prediction: Tensor, truth: Tensor, data_range: int = 1) -> Tensor:
    """Structural similarity of each frame, in [-1,1], as scikit-image's defaults have it.

    7x7 uniform window where it fits whole, sample covariance, channels averaged (Wang et al. 2004,
    "Image quality assessment: from error visibility to structural similarity"). Written in the sum
    s and the difference d of the frames, it needs four window means, not five:

        SSIM = (s² - d² + 2 C1) / (s² + d² + 2 C1) * (var s - var d + 2 C2) / (var s + var d + 2 C2)

    Raises:
        NotMeasured: where a side of the frame is shorter than the window.
    """
    height, width = prediction.shape[-2:]
    if min(height, width) < _SSIM_WINDOW:
        raise NotMeasured(f"SSIM needs frames of at least 7x7 pixels, not {height}x{width}")
    pixels = _PIXELS_IN_CACHE if prediction.device.type == "cpu" else _PIXELS_ON_ACCELERATOR
    at_once = max(1, pixels // (height * width))
    planes = (torch.split(x.flatten(0, -3).float(), at_once) for x in (prediction, truth))
    similarities = [_similarity(p, t, data_range) for p, t in zip(*planes, strict=True)]
    return torch.cat(similarities).reshape(prediction.shape[:-2]).mean(-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log of the probability that `logits` [N,classes] give each of the `labels` [N], in nats."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """The place of each of the `labels` [N] among the classes, int64 [N] from 1, by `logits`.

    Before it are the classes with a larger logit, and those with an equal one and a lower index: so
    that equal logits for all name the first classes, not whichever is right. Where a logit is no
    number its class comes before the label; where the label's is none, the label comes last.
    """
    own = logits.gather(1, labels[:, None])
    index = torch.arange(logits.shape[1], device=logits.device)
    behind = (own > logits) | ((own == logits) & (index > labels[:, None]))
    return logits.shape[1] - behind.sum(1)


def _decibels(mean_square: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of frames with that MSE, for data range 1; at most 100."""
    return -10 * mean_square.clamp(min=10 ** (-PERFECT_PSNR / 10)).log10()


def _cut_to_bytes(frames: Tensor) -> Tensor:
    """`frames` in [0,1] quantised to 256 levels, rounded down, still in [0,1]."""
    return (frames.float() * 255).floor_().div_(255)


def _similarity(prediction: Tensor, truth: Tensor, data_range: int) -> Tensor:
    """SSIM [N] of planes [N,H,W], float32."""
    count, height, width = truth.shape
    # In one row per plane: a window that runs over a line's end has a place that is cut at last.
    prediction, truth = prediction.reshape(count, -1), truth.reshape(count, -1)
    values = truth.new_empty(4, *truth.shape)
    centred, squares = values[:2], values[2:]
    torch.add(prediction, truth, out=centred[0])
    torch.sub(prediction, truth, out=centred[1])
    # Squares of centred values keep the digits that the variances are made of.
    offset = centred.mean(-1, keepdim=True)
    centred -= offset
    torch.mul(centred, centred, out=squares)
    means = _window_sums(_window_sums(values, 1), width).div_(_SSIM_WINDOW**2)
    mean, variance = means[:2], means[2:]
    variance.addcmul_(mean, mean, value=-1).mul_(_COVARIANCE_NORM)
    luminance = _contrast(mean.add_(offset).square_(), 2 * _SSIM_C1 * data_range**2)
    similarity = luminance.mul_(_contrast(variance, 2 * _SSIM_C2 * data_range**2))
    whole = count, height - _SSIM_WINDOW + 1, width - _SSIM_WINDOW + 1
    return similarity.as_strided(whole, (similarity.shape[1], width, 1)).mean((-2, -1))


def _contrast(of_sum_and_difference: Tensor, stabiliser: float) -> Tensor:
    """(a - b + c) / (a + b + c) for a, b stacked in the first argument."""
    total, difference = of_sum_and_difference.unbind()
    return (total - difference).add_(stabiliser).div_((total + difference).add_(stabiliser))


def _window_sums(values: Tensor, step: int) -> Tensor:
    """Sums of 7 of the `values` [...,L], `step` apart, from each on: [...,L-6*step]."""
    length = values.shape[-1] - (_SSIM_WINDOW - 1) * step
    pairs = values[..., :-step] + values[..., step:]
    sums = pairs[..., :length] + pairs.narrow(-1, 2 * step, length)
    return sums.add_(pairs.narrow(-1, 4 * step, length)).add_(values[..., 6 * step :])
