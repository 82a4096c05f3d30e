"""Outside implementations that our metrics must equal, each imported when called.

Arrays are NumPy's float32: the output of a model, of any range, and the truth [N,T,C,H,W] in [0,1],
and the context before it; logits [N,classes], labels and videos [N]. What is known of clips beside
their pixels are `ClipFacts`, which few need.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    OfFrame = Callable[[Array, Array], float]
    """Prediction and truth [C,H,W] of a frame -> its figure."""
    Prepare = Callable[[Any], Array]


@dataclass(frozen=True, slots=True)
class Outside:
    """An implementation by others: its name and its values.

    Attributes:
        name: whose it is, such as "scikit-image".
        compute: of frames `(output, truth, context, clips)` -> values [N,T], or [N] of a sequence,
            or one number; the output may be drawn futures [N,S,T,C,H,W]; of answers
            `(logits, labels, videos)` -> one number.
    """

    name: str
    compute: Callable[..., Any]


def clamped(frame: Any) -> Array:
    """`frame` [...,C,H,W] clamped to [0,1], as float64."""
    limited: Array = frame.clip(0, 1).astype("float64")
    return limited


def unclamped(frame: Any) -> Array:
    """`frame` as it is, as float64."""
    same: Array = frame.astype("float64")
    return same


def as_bytes(frame: Any) -> Array:
    """`frame` as uint8, rounded down."""
    cut: Array = (frame.clip(0, 1) * 255).astype("uint8")
    return cut


def grey(frame: Any) -> Array:
    """The mean over the channels of `frame`, [1,H,W]."""
    mean: Array = frame.clip(0, 1).astype("float64").mean(0, keepdims=True)
    return mean


def each_frame(name: str, compute: OfFrame, prepare: Prepare = clamped) -> Outside:
    """The implementation `name`, which applies `compute` to each frame after `prepare`."""
    return Outside(name, partial(_frame_by_frame, compute, prepare))


def mse(prepare: Prepare = clamped) -> Outside:
    """scikit-image's mean squared error."""
    return each_frame("scikit-image", lambda p, t: _skimage().mean_squared_error(t, p), prepare)


def mae(prepare: Prepare = clamped) -> Outside:
    """The mean of the absolute differences, in NumPy."""
    return each_frame("its closed form", lambda p, t: float(abs(t - p).mean()), prepare)


def psnr(highest: float, prepare: Prepare = clamped, data_range: int = 1) -> Outside:
    """scikit-image's peak signal-to-noise ratio in dB, at most `highest`."""

    def of_frame(prediction: Array, truth: Array) -> float:
        ratio = _skimage().peak_signal_noise_ratio(truth, prediction, data_range=data_range)
        return min(highest, float(ratio))

    return each_frame("scikit-image", of_frame, prepare)


def ssim(prepare: Prepare = clamped, data_range: int = 1) -> Outside:
    """scikit-image's structural similarity with its defaults."""

    def of_frame(prediction: Array, truth: Array) -> float:
        similarity = _skimage().structural_similarity
        return float(similarity(truth, prediction, data_range=data_range, channel_axis=0))

    return each_frame("scikit-image", of_frame, prepare)


def lpips(slope: int, offset: int) -> Outside:
    """The lpips package's distance of frames brought to `slope` x + `offset`, one at a time."""

    def of_frame(prediction: Array, truth: Array) -> float:
        import torch

        network = lpips_network()
        frames = (torch.from_numpy(x)[None].float() * slope + offset for x in (prediction, truth))
        with torch.no_grad():
            return float(network(*(frame.expand(-1, 3, -1, -1) for frame in frames)))

    return each_frame("the lpips package", of_frame, clamped)


@cache
def lpips_network() -> Any:
    """The network of the lpips package, for frames [N,3,H,W] on the scale that is asked for.

    Raises:
        NotMeasured: where AlexNet's weights are missing.
    """
    import torch

    from bench.score.lpips import read, weights_file
    from datasets.sources.torchvision_import import import_torchvision

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        import_torchvision()
        import lpips

        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    parameters = read(weights_file())
    # The package's slices keep the layer numbers: "slice2.3.weight" is "features.3.weight".
    names = {name: "features." + name.partition(".")[2] for name in network.net.state_dict()}
    network.net.load_state_dict({name: parameters[source] for name, source in names.items()})
    return network.requires_grad_(False).eval()


def crps() -> Outside:
    """The continuous ranked probability score in its fair form, pair by pair in NumPy."""

    def compute(drawn: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        del context, clips
        futures, count = clamped(drawn), drawn.shape[1]
        apart = [abs(futures[:, i] - futures[:, j]) for i in range(count) for j in range(i)]
        error = abs(futures - truth[:, None]).mean(1) - sum(apart) / len(apart) / 2
        found: Array = error.mean((2, 3, 4))
        return found

    return Outside("NumPy", compute)


def of_mean(metric: Outside) -> Outside:
    """`metric` of the mean of drawn futures."""

    def compute(drawn: Array, truth: Array, context: Array, clips: Any = None) -> Any:
        return metric.compute(clamped(drawn).mean(1), truth, context, clips)

    return Outside(metric.name, compute)


def best(metric: Outside, highest: bool = False) -> Outside:
    """The lowest or highest `metric` of a clip among drawn futures."""

    def compute(drawn: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        import numpy as np

        futures = (metric.compute(each, truth, context, clips) for each in drawn.swapaxes(0, 1))
        of_clips = np.array([*futures]).mean(2)
        chosen: Array = of_clips.max(0) if highest else of_clips.min(0)
        return chosen

    return Outside(metric.name, compute)


def trivial_mse() -> Outside:
    """The lowest MSE among trivial predictions of each clip, in NumPy but for the motion's."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        import numpy as np
        import torch

        from models.linear_motion import LinearMotion

        del output, clips
        frames, horizon = truth.astype("float64"), truth.shape[1]
        past = context.astype("float64")
        motion = LinearMotion(truth.shape[2:])(torch.from_numpy(context), horizon).numpy()
        trivial = (0, past.mean((1, 3, 4), keepdims=True), past.mean(1, keepdims=True))
        errors = np.stack(
            [((p - frames) ** 2).mean((2, 3, 4)) for p in (*trivial, past[:, -1:], motion)]
        )
        best: Array = errors[errors.mean(2).argmin(0), np.arange(len(truth))]
        return best

    return Outside("NumPy", compute)


def changed_share(least: float) -> Outside:
    """The share of pixels of which a channel differs from the context's last frame, in NumPy."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        del output, clips
        share: Array = _changed(truth, context, least).mean((2, 3))
        return share

    return Outside("NumPy", compute)


def changed_error(least: float) -> Outside:
    """The squared error on these pixels over the number of all, in NumPy."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        del clips
        error = ((clamped(output) - truth) ** 2).mean(2)
        found: Array = (error * _changed(truth, context, least)).mean((2, 3))
        return found

    return Outside("NumPy", compute)


def detail(of_truth: bool = False) -> Outside:
    """The power of fine detail of the mean over channels, by NumPy's whole Fourier transform."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        import numpy as np

        del context, clips
        frames = clamped(truth if of_truth else output).mean(2)
        sides = frames.shape[2:]
        window = np.multiply.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in sides))
        even = np.average(frames, axis=(2, 3), weights=np.broadcast_to(window, frames.shape))
        power = np.abs(np.fft.fft2((frames - even[..., None, None]) * window)) ** 2
        radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in sides), indexing="ij"))
        total = power[..., radius >= 1 / 8].sum(-1) / (window.size * (window**2).sum())
        return np.asarray(total)

    return Outside("NumPy", compute)


def motion_error() -> Outside:
    """The mean squared error of the difference of each frame from the one before, in NumPy."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        del clips
        found: Array = _changes(clamped(output), context) - _changes(truth, context)
        return _mean_squares(found)

    return Outside("NumPy", compute)


def true_motion() -> Outside:
    """The mean squared difference of each true frame from the one before, in NumPy."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> Array:
        del output, clips
        return _mean_squares(_changes(truth, context))

    return Outside("NumPy", compute)


def rmse(by_area: bool = False) -> Outside:
    """scikit-learn's root mean squared error of the first quantity, in its unit."""

    def compute(output: Array, truth: Array, context: Array, clips: Any) -> list[list[float]]:
        from sklearn.metrics import root_mean_squared_error

        del context
        weights = _cosines(clips, truth) if by_area else None
        return [
            [root_mean_squared_error(t.ravel(), p.ravel(), sample_weight=weights) for p, t in maps]
            for maps in _physical_maps(output, truth, clips)
        ]

    return Outside("scikit-learn", compute)


def anomaly_correlation() -> Outside:
    """The cosine of the angle between weighted anomalies from the climatology, by SciPy."""

    def compute(output: Array, truth: Array, context: Array, clips: Any) -> list[list[float]]:
        from scipy.spatial.distance import cosine

        del context
        weights = _cosines(clips, truth)
        usual = _in_unit(clips.climatology.numpy()[0].astype("float64"), clips)
        return [
            [1 - cosine((p - usual).ravel(), (t - usual).ravel(), weights) for p, t in maps]
            for maps in _physical_maps(output, truth, clips)
        ]

    return Outside("SciPy", compute)


def events(score: str, pool: int = 1, less_than_1: bool = False) -> Outside:
    """scikit-learn's `score` of which pixels are events, mean over thresholds that are reached.

    Of the maxima of squares of `pool` pixels a side; 1 less it where it is `less_than_1`.
    """

    def compute(output: Array, truth: Array, context: Array, clips: Any) -> float:
        import numpy as np
        from skimage import measure
        from sklearn import metrics

        del context
        block_reduce: Any = measure.block_reduce
        more: dict[str, Any] = {} if "kappa" in score else {"zero_division": 0}
        sides = [side // pool * pool for side in truth.shape[-2:]]
        maps = [
            block_reduce(x[:, :, 0, : sides[0], : sides[1]], (1, 1, pool, pool), np.max)
            for x in (output.clip(0, 1), truth)
        ]
        forecast, observed = (_in_unit(x.astype("float64"), clips).ravel() for x in maps)
        rounding = 1e-7 * (clips.spec.quantities[0].high - clips.spec.quantities[0].low)
        found = [
            getattr(metrics, score)(observed >= least, forecast >= least, **more)
            for least in (threshold - rounding for threshold in clips.spec.thresholds)
            if (observed >= least).any()
        ]
        mean = float(np.mean(found))
        return 1 - mean if less_than_1 else mean

    return Outside("scikit-learn", compute)


def fvd() -> Outside:
    """The Fréchet distance of I3D's features by NumPy's covariances and eigenvalues.

    The network and how clips are prepared for it are ours.
    """

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> float:
        import numpy as np
        import torch

        from bench.score import fvd

        del clips
        device = torch.accelerator.current_accelerator(check_available=True)
        features = fvd.loaded(device or torch.device("cpu"))
        both = []
        for frames in (output.clip(0, 1), truth):
            whole = torch.from_numpy(np.concatenate([context, frames], 1)).to(device)
            with torch.no_grad():
                both.append(features(fvd.prepared(whole)).double().cpu().numpy())
        return frechet_distance(*both)

    return Outside("NumPy", compute)


def frechet_distance(first: Array, second: Array) -> float:
    """That of two sets of features [N,D], which may be fewer than their dimensions, in NumPy."""
    import numpy as np

    means, covariances = zip(*((x.mean(0), np.cov(x.T)) for x in (first, second)), strict=True)
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0))
    shift = float(((means[0] - means[1]) ** 2).sum())
    return shift + float(np.trace(covariances[0] + covariances[1]) - 2 * roots.sum())


def ratio(above: Outside, below: Outside, is_gain: bool = False) -> Outside:
    """The ratio of the means of what two implementations give, or 1 less it."""

    def compute(output: Array, truth: Array, context: Array, clips: Any = None) -> float:
        import numpy as np

        given = output, truth, context, clips
        means = [np.mean(each.compute(*given)) for each in (above, below)]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = float(np.divide(*means))
        return 1 - found if is_gain else found

    return Outside(" and ".join(dict.fromkeys((above.name, below.name))), compute)


def top_k(k: int, by_video: bool) -> Outside:
    """scikit-learn's share of labels among the `k` largest logits, of clips or of videos."""

    def share(logits: Any, labels: Any, videos: Any) -> float:
        from sklearn.metrics import top_k_accuracy_score

        if by_video:
            logits, labels = _by_video(logits, labels, videos)
        return float(top_k_accuracy_score(labels, logits, k=k, labels=range(logits.shape[1])))

    return Outside("scikit-learn", share)


def cross_entropy() -> Outside:
    """scikit-learn's log loss of the clips."""

    def loss(logits: Any, labels: Any, videos: Any) -> float:
        from scipy.special import softmax
        from sklearn.metrics import log_loss

        probabilities = softmax(logits.astype("float64"), 1)
        return float(log_loss(labels, probabilities, labels=range(logits.shape[1])))

    return Outside("scikit-learn", loss)


def _frame_by_frame(
    compute: OfFrame,
    prepare: Prepare,
    output: Any,
    truth: Any,
    context: Any = None,
    clips: Any = None,
) -> list[list[float]]:
    del context, clips  # which say nothing of a frame's own figure
    return [
        [compute(prepare(p), prepare(t)) for p, t in zip(*sequence, strict=True)]
        for sequence in zip(output, truth, strict=True)
    ]


def _changed(truth: Any, context: Any, least: float) -> Array:
    """Where a channel of a true frame differs from the context's last by more: [N,T,H,W]."""
    changed: Array = (abs(truth - context[:, -1:]) > least).any(2)
    return changed


def _changes(frames: Any, context: Any) -> Array:
    """The differences of frames [N,T,C,H,W] from the ones before, the first from the context."""
    import numpy as np

    return np.diff(np.concatenate([context[:, -1:], frames], 1).astype("float64"), axis=1)


def _mean_squares(changes: Array) -> Array:
    mean: Array = (changes**2).mean((2, 3, 4))
    return mean


def _in_unit(values: Array, clips: Any) -> Array:
    """`values` in [0,1] of the first quantity, in its unit."""
    quantity = clips.spec.quantities[0]
    found: Array = quantity.low + values * (quantity.high - quantity.low)
    return found


def _physical_maps(output: Array, truth: Array, clips: Any) -> Any:
    """Of each sequence the pairs of predicted and true maps [H,W] of the first quantity."""
    maps = [_in_unit(clamped(x)[:, :, 0], clips) for x in (output, truth)]
    return (zip(*sequence, strict=True) for sequence in zip(*maps, strict=True))


def _cosines(clips: Any, truth: Array) -> Array:
    """What each pixel of a flat map counts: the cosine of its latitude."""
    import numpy as np

    cosines: Array = np.cos(np.radians(clips.spec.latitudes)).repeat(truth.shape[-1])
    return cosines


def _by_video(logits: Any, labels: Any, videos: Any) -> tuple[Any, Any]:
    import numpy as np

    names, first = np.unique(videos, return_index=True)
    means = [logits[videos == name].astype("float64").mean(0) for name in names]
    return np.stack(means), labels[first]


def _skimage() -> Any:
    from skimage import metrics

    return metrics
