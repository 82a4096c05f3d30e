from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import Tensor

from bench.score.metrics import (
    NotMeasured,
    cross_entropy,
    errors,
    label_ranks,
    mae,
    mse,
    psnr,
    similarities,
    ssim,
    top_k,
)
from bench.store.records import PUBLISHED, QUALITY

Pair = tuple[Tensor, Tensor]
FrameMetric = Callable[[Tensor, Tensor], Tensor]
FRAME_METRICS: dict[str, FrameMetric] = {"mse": mse, "mae": mae, "psnr": psnr, "ssim": ssim}
metrics = pytest.mark.parametrize("metric", FRAME_METRICS.values(), ids=FRAME_METRICS)


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


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_agreement_with_scikit_image(pair: Pair) -> None:
    prediction, truth = pair
    frames = list(zip(truth.double().numpy(), prediction.double().numpy(), strict=True))
    expected_mse = [mean_squared_error(t, p) for t, p in frames]
    expected_psnr = [peak_signal_noise_ratio(t, p, data_range=1) for t, p in frames]
    np.testing.assert_allclose(mse(*pair), expected_mse, atol=1e-5)
    np.testing.assert_allclose(mae(*pair), [abs(t - p).mean() for t, p in frames], atol=1e-5)
    np.testing.assert_allclose(psnr(*pair), expected_psnr, rtol=1e-5)
    np.testing.assert_allclose(ssim(*pair), skimage_ssim(*pair), atol=1e-5)


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


def test_families_hold_every_column_but_lpips_and_what_the_single_measures_give() -> None:
    prediction, truth = torch.rand(2, 4, 3, 20, 24)
    found = errors(prediction, truth) | similarities(prediction, truth)
    assert {*found, "lpips", "lpips_unscaled"} == {*QUALITY["prediction"], *PUBLISHED}
    for name, metric in FRAME_METRICS.items():
        assert torch.equal(found[name], metric(prediction, truth))


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
    for values in (errors(prediction, truth) | similarities(prediction, truth)).values():
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
    for values in (errors(prediction, truth) | similarities(prediction, truth)).values():
        assert values.isnan().tolist() == [True, False]


@st.composite
def answers(draw: st.DrawFn) -> Pair:
    """Logits [N,K] without ties, near or far, and labels [N]."""
    clips, classes = draw(st.integers(1, 30)), draw(st.integers(3, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(clips, classes, generator=generator) * draw(st.sampled_from([0.1, 1, 3]))
    return logits, torch.randint(0, classes, (clips,), generator=generator)


@settings(max_examples=50, deadline=None)
@given(answers(), st.integers(1, 5))
def test_agreement_with_scikit_learn(pair: Pair, k: int) -> None:
    logits, labels = pair
    classes = range(logits.shape[1])
    if k < len(classes):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=classes)
        assert top_k(label_ranks(*pair), k) == pytest.approx(expected)
    probabilities = logits.double().softmax(1).numpy()
    expected = log_loss(labels, probabilities, labels=classes)
    assert cross_entropy(*pair).double().mean().item() == pytest.approx(expected, rel=1e-5)


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


def test_ranks_count_up_to_the_number_of_classes() -> None:
    logits, labels = torch.randn(50, 7), torch.randint(0, 7, (50,))
    shares = [top_k(label_ranks(logits, labels), k) for k in range(8)]
    assert shares == sorted(shares)
    assert (shares[0], shares[7]) == (0, 1)


@pytest.mark.gpu
@pytest.mark.usefixtures("low_precision")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@metrics
def test_cuda_agrees_with_the_cpu(metric: FrameMetric) -> None:
    prediction, truth = torch.rand(2, 64, 3, 64, 48)
    with torch.autocast("cuda", torch.bfloat16):
        on_cuda = metric(prediction.cuda(), truth.cuda()).cpu()
    torch.testing.assert_close(on_cuda, metric(prediction, truth), rtol=1e-5, atol=1e-5)
