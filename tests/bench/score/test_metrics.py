from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor

from bench.check import metrics as checks
from bench.check.check import check
from bench.check.promises import ContractBroken
from bench.score.clip_scores import score
from bench.score.frame_scores import FrameScorer
from bench.score.frames import Frames, cross_entropy, label_ranks, mae, mse, psnr, ssim
from bench.score.metric import LEAST, Metric, NotMeasured
from bench.score.metrics import METRICS, PREDICTION, RECOGNITION, columns
from bench.score.trivial import scored
from datasets.contract import TaskName
from tests.bench.score.plain import of_plain, plain

Pair = tuple[Tensor, Tensor]
FrameMetric = Callable[[Tensor, Tensor], Tensor]
FRAME_METRICS: dict[str, FrameMetric] = {"mse": mse, "mae": mae, "psnr": psnr, "ssim": ssim}
metrics = pytest.mark.parametrize("metric", FRAME_METRICS.values(), ids=FRAME_METRICS)
PIXEL_METRICS = [
    metric
    for name, metric in of_plain(plain(torch.empty(1, 1, 1, 40, 40))).items()
    if not name.startswith("lpips")
]
NETWORKS = ("lpips", "fvd")
CHECKED = [name for name in checks.CHECKS if not name.startswith(NETWORKS)]
"""What needs no weights, which may not be here."""


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Prediction and truth [N,C,H,W] in [0,1]: noise about an image of blocks, near or far."""
    frames, channels = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3]))
    height, width = draw(st.integers(7, 40)), draw(st.integers(7, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    blocks = torch.rand(frames, channels, 2, 3, generator=generator).round()
    truth = torch.nn.functional.interpolate(blocks, (height, width))
    noise = torch.randn(truth.shape, generator=generator) * draw(st.sampled_from([1e-3, 0.1, 1.0]))
    return (truth + noise).clamp(0, 1), truth


def skimage_ssim(prediction: Tensor, truth: Tensor) -> list[float]:
    frames = zip(truth.double().numpy(), prediction.double().numpy(), strict=True)
    return [structural_similarity(t, p, data_range=1, channel_axis=0) for t, p in frames]


@pytest.mark.parametrize("metric", PIXEL_METRICS, ids=lambda metric: metric.name)
@settings(max_examples=25, deadline=None)
@given(pair=pairs())
def test_every_metric_agrees_with_the_outside_implementation(metric: Metric, pair: Pair) -> None:
    prediction, truth = (frames[None] for frames in pair)
    output = truth + 2 * (prediction - truth)  # beyond [0,1]
    context = truth.flip(0, 1).roll(2, -1)
    trivial = scored(context, truth)
    best, second = trivial.errors.mean(2).sort(1).values[0, :2].tolist()
    assume(second - best > 1e-6)  # of two that are equal either may be the best
    scorer = FrameScorer(plain(truth), [metric])
    scorer.add(output, truth, context[:, -1:], trivial.mse)
    expected = metric.outside.compute(output.numpy(), truth.numpy(), context.numpy())
    scores = scorer.scores({}, 1.0)
    if metric.ratio is None:
        found = scores.frames[metric.name]
        np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-5, atol=1e-5)
    elif metric.name in scores.not_measured:
        assert scores.frames[metric.ratio.below].mean() <= LEAST  # nothing to divide by
    else:
        assert scores.means()[metric.name] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("task", METRICS)
def test_the_names_of_a_tasks_metrics_are_apart(task: TaskName) -> None:
    entries = {"prediction": PREDICTION, "recognition": RECOGNITION}[task]
    assert len(METRICS[task]) == len(entries)


@pytest.mark.parametrize("name", CHECKED)
def test_the_check_finds_every_metric_equal(name: str) -> None:
    checks.CHECKS[name](torch.device("cpu"))


def test_the_check_tells_a_metric_that_is_another() -> None:
    wrong = replace(METRICS["prediction"]["mse"], function=lambda frames: frames.mse + 1e-3)
    with pytest.raises(ContractBroken, match=r"scikit-image by up to 0\.001"):
        checks.of_frames(wrong, torch.device("cpu"))


@pytest.mark.parametrize(("more", "code"), [(0, 0), (1e-3, 1)])
def test_a_metric_that_cannot_be_measured_here_breaks_no_promise(
    more: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_weights(frames: Frames) -> Tensor:
        raise NotMeasured("no weights today")

    mae = METRICS["prediction"]["mae"]
    apart = replace(mae, function=lambda frames: frames.mae + more)
    missing = replace(METRICS["prediction"]["lpips"], function=without_weights)
    asked = {m.name: partial(checks.of_frames, m) for m in (apart, missing)}
    monkeypatch.setattr(checks, "CHECKS", asked)
    assert check("metrics") == code
    said = capsys.readouterr().out
    assert "--    lpips: not measured: no weights today\n" in said
    assert f"metrics: {'failed 1 of 1 checks' if code else 'passed 1 checks'}\n" in said


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (3, 48, 65), (1, 7, 90), (3, 7, 7)])
def test_ssim_of_a_dark_moving_blob_agrees_with_scikit_image(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(5, *shape)
    truth[..., 2:6, 3:20] = torch.rand(truth[..., 2:6, 3:20].shape, generator=generator)
    for prediction in (truth.roll(1, -1), truth * 0.99, torch.zeros_like(truth)):
        expected = skimage_ssim(prediction, truth)
        np.testing.assert_allclose(ssim(prediction, truth), expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(pairs())
def test_bounds_and_symmetry(pair: Pair) -> None:
    prediction, truth = pair
    for metric in FRAME_METRICS.values():
        torch.testing.assert_close(metric(prediction, truth), metric(truth, prediction))
    assert mse(*pair).ge(0).all()
    assert mse(*pair).le(mae(*pair) + 1e-7).all()  # differences are at most 1
    assert mae(*pair).square().le(mse(*pair) + 1e-7).all()  # Jensen
    assert ssim(*pair).abs().le(1 + 1e-6).all()
    assert psnr(*pair).ge(-1e-5).all()
    assert psnr(*pair).le(100).all()


@settings(max_examples=20, deadline=None)
@given(pairs())
def test_a_perfect_frame(pair: Pair) -> None:
    _, truth = pair
    perfect = {name: metric(truth, truth) for name, metric in FRAME_METRICS.items()}
    assert perfect["mse"].eq(0).all()
    assert perfect["mae"].eq(0).all()
    assert perfect["psnr"].eq(100).all()
    assert perfect["ssim"].eq(1).all()


@settings(max_examples=20, deadline=None)
@given(pairs(), st.integers(0, 4))
def test_a_frame_scores_the_same_in_any_batch(pair: Pair, cut: int) -> None:
    prediction, truth = pair
    for metric in FRAME_METRICS.values():
        parts = zip(prediction.tensor_split([cut]), truth.tensor_split([cut]), strict=True)
        split = torch.cat([metric(*part) for part in parts if len(part[0])])
        torch.testing.assert_close(metric(*pair), split, rtol=1e-5, atol=1e-6)


@metrics
def test_leading_dimensions_are_kept(metric: FrameMetric) -> None:
    prediction, truth = torch.rand(2, 2, 3, 1, 12, 10)
    flat = metric(prediction.flatten(0, 1), truth.flatten(0, 1))
    torch.testing.assert_close(metric(prediction, truth), flat.unflatten(0, (2, 3)))


@metrics
def test_inputs_are_left_alone(metric: FrameMetric) -> None:
    prediction, truth = torch.rand(2, 3, 1, 12, 10)
    before = prediction.clone(), truth.clone()
    metric(prediction, truth)
    assert torch.equal(prediction, before[0])
    assert torch.equal(truth, before[1])


def test_known_values() -> None:
    black, half = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)
    assert mse(half, black).item() == 0.25
    assert mae(half, black).item() == 0.5
    assert psnr(half, black).item() == pytest.approx(6.0206, abs=1e-4)
    assert ssim(half, black).item() == pytest.approx(0.0001 / (0.25 + 0.0001), rel=1e-4)


def test_ssim_says_why_it_cannot_score_a_small_frame() -> None:
    with pytest.raises(NotMeasured, match="7x7 pixels, not 6x40"):
        ssim(torch.rand(2, 1, 6, 40), torch.rand(2, 1, 6, 40))


def test_what_metrics_share_gives_what_the_single_functions_give() -> None:
    prediction, truth = torch.rand(2, 2, 2, 3, 20, 24)
    frames = frames_of(prediction, truth)
    shared = {"mse": frames.mse, "mae": frames.mae, "psnr": frames.psnr, "ssim": frames.ssim()}
    for name, metric in FRAME_METRICS.items():
        assert torch.equal(shared[name], metric(prediction, truth))


def frames_of(prediction: Tensor, truth: Tensor) -> Frames:
    """Of random frames after a black one."""
    last = torch.zeros_like(truth[..., :1, :, :, :])
    return Frames.of(prediction, truth, last, mse(truth, torch.zeros_like(truth)), plain(truth))


def pixel_values(prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
    frames = frames_of(prediction, truth)
    return {metric.name: metric.function(frames) for metric in columns(PIXEL_METRICS)}


@pytest.fixture
def low_precision() -> Iterator[None]:
    torch.set_float32_matmul_precision("high")
    with torch.autocast("cpu", torch.bfloat16):
        yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("low_precision")
def test_float32_whatever_the_caller_runs_under() -> None:
    prediction, truth = torch.rand(2, 4, 3, 20, 24)
    assert (truth.flatten(1) @ truth.flatten(1).T).dtype is torch.bfloat16
    for values in pixel_values(prediction[None], truth[None]).values():
        assert values.dtype is torch.float32
    np.testing.assert_allclose(ssim(prediction, truth), skimage_ssim(prediction, truth), atol=1e-5)
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.is_autocast_enabled("cpu")


@metrics
def test_a_prediction_that_is_no_number_scores_no_number(metric: FrameMetric) -> None:
    truth = torch.rand(2, 1, 8, 8)
    prediction = truth.clone()
    prediction[0, 0, 3, 3] = torch.nan
    assert metric(prediction, truth).isnan().tolist() == [True, False]
    of_the_clips = {"trivial_mse", "true_detail", "changed_share", "true_motion"}
    for name, values in pixel_values(prediction[:, None], truth[:, None]).items():
        assert values.isnan().flatten().tolist() == [name not in of_the_clips, False], name


@st.composite
def answers(draw: st.DrawFn) -> Pair:
    """Logits [N,K] without ties, near or far, and labels [N]."""
    clips, classes = draw(st.integers(1, 30)), draw(st.integers(3, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(clips, classes, generator=generator) * draw(st.sampled_from([0.1, 1, 3]))
    return logits, torch.randint(0, classes, (clips,), generator=generator)


@settings(max_examples=50, deadline=None)
@given(answers())
def test_answers_agree_with_the_outside_implementation(pair: Pair) -> None:
    logits, labels = pair
    classes = [str(number) for number in range(logits.shape[1])]
    videos = labels + logits.shape[1] * (torch.arange(len(labels)) % 2)  # one label a video
    means = score(logits, labels, videos, classes, 1.0).means()
    for name, mean in means.items():
        expected = METRICS["recognition"][name].outside.compute(
            logits.numpy(), labels.numpy(), videos.numpy()
        )
        assert mean == pytest.approx(expected, rel=1e-5), name


def test_equal_logits_go_to_the_class_of_the_lower_index() -> None:
    even = torch.zeros(4, 4)
    assert label_ranks(even, torch.arange(4)).tolist() == [1, 2, 3, 4]
    logits = torch.tensor([[0.0, 1.0, 1.0, 2.0]]).expand(4, 4)
    assert label_ranks(logits, torch.arange(4)).tolist() == [4, 2, 3, 1]


def test_a_logit_that_is_no_number_names_nothing_right() -> None:
    nothing = torch.full((3, 6), torch.nan)
    assert label_ranks(nothing, torch.arange(3)).tolist() == [6, 6, 6]
    one = torch.tensor([[torch.nan, 5.0, 1.0]]).expand(3, 3)
    assert label_ranks(one, torch.arange(3)).tolist() == [3, 2, 3]
    assert cross_entropy(one, torch.arange(3)).isnan().all()


@pytest.mark.gpu
@pytest.mark.usefixtures("low_precision")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@metrics
def test_cuda_agrees_with_the_cpu(metric: FrameMetric) -> None:
    prediction, truth = torch.rand(2, 64, 3, 64, 48)
    with torch.autocast("cuda", torch.bfloat16):
        on_cuda = metric(prediction.cuda(), truth.cuda()).cpu()
    torch.testing.assert_close(on_cuda, metric(prediction, truth), rtol=1e-5, atol=1e-5)
