import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from bench import records
from bench.score import lpips, outside
from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.frames import Frames, mae, mse, psnr
from bench.score.lpips import WeightsMissing
from bench.score.measure import measure
from bench.score.metric import ClipFacts, Metric, NotMeasured, Sums
from bench.score.metrics import METRICS, columns
from bench.train.held_out import HeldOut
from bench.train.task import task_of
from datasets.contract import Spec
from tests.bench.score.plain import of_plain, plain

Predict = Callable[[Tensor, int], Tensor]
CPU = torch.device("cpu")
CONTEXT, HORIZON = 3, 2
TASK = task_of("prediction", Spec((1, 9, 9), CONTEXT, HORIZON))
OF_THESE = of_plain(ClipFacts(TASK.spec, 7))
QUALITY = {name: metric for name, metric in OF_THESE.items() if metric.is_recorded}
COLUMNS = [metric.name for metric in columns(OF_THESE.values())]


class Split:
    """Seven random clips; remembers the largest slice that was asked for."""

    def __init__(self, side: int = 9) -> None:
        generator = torch.Generator().manual_seed(3)
        shape = (7, CONTEXT + HORIZON, 1, side, side)
        self.pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self.largest = 0

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, window: slice, /) -> Tensor:
        self.largest = max(self.largest, len(self.pixels[window]))
        return self.pixels[window]


class Lightness:
    """In the place of LPIPS: the difference of mean lightness."""

    def __call__(self, prediction: Tensor, truth: Tensor, slope: float, offset: float) -> Tensor:
        lightness = (prediction.mean((-3, -2, -1)) - truth.mean((-3, -2, -1))).abs()
        return lightness * slope / 2


def missing(device: torch.device) -> Lightness:
    raise WeightsMissing("no weights today")


@pytest.fixture(autouse=True)
def _without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips, "loaded", lambda device: Lightness())


def copy_last(context: Tensor, horizon: int) -> Tensor:
    return context[:, -1:].expand(-1, horizon, -1, -1, -1)


def run(
    predict: Predict = copy_last,
    split: Split | None = None,
    count: int = 7,
    batch_size: int = 3,
    showcase_clips: int = 0,
    heard: list[float] | None = None,
    compared: Collection[str] = METRICS["prediction"],
) -> FrameScores:
    hear = heard.append if heard is not None else lambda _: None
    held_out = HeldOut(split or Split(), count, batch_size, CPU, hear)
    forward = lambda clips: TASK.forward(predict, clips)  # noqa: E731
    scores = measure(TASK, forward, held_out, showcase_clips, compared)
    assert isinstance(scores, FrameScores)
    return scores


def test_one_row_per_sequence_and_predicted_frame() -> None:
    frames = run().frames
    assert set(frames) == {"sequence", "frame", "cluster", "trivial", *COLUMNS}
    assert frames["sequence"].tolist() == [s for s in range(7) for _ in range(HORIZON)]
    assert frames["frame"].tolist() == [1, 2] * 7
    assert frames.notna().all(axis=None)
    assert set(frames.dtypes.astype(str)) == {"int64", "float64", "category"}


@pytest.mark.parametrize("compared", [(), ("ssim_range2", "lpips_unscaled")])
def test_of_the_stored_metrics_those_that_figures_are_compared_in_are_computed(
    compared: tuple[str, ...],
) -> None:
    few, everything = run(compared=compared).frames, run().frames
    wanted = {column.name for column in columns(QUALITY.values())} | set(compared)
    assert set(few) == {"sequence", "frame", "cluster", "trivial", *wanted}
    pd.testing.assert_frame_equal(few, everything[few.columns])


def test_rows_hold_the_metrics_of_their_own_frame() -> None:
    split = Split()
    clips = split.pixels.double().numpy() / 255
    frames = run(split=split).frames
    for row in frames.itertuples():
        truth = clips[row.sequence, CONTEXT + row.frame - 1, 0]
        guess = clips[row.sequence, CONTEXT - 1, 0]
        error = ((truth - guess) ** 2).mean()
        assert row.mse == pytest.approx(error, rel=1e-5)
        assert row.mae == pytest.approx(abs(truth - guess).mean(), rel=1e-5)
        assert row.psnr == pytest.approx(-10 * np.log10(error), rel=1e-5)
        expected = structural_similarity(truth, guess, data_range=1)
        assert row.ssim == pytest.approx(expected, abs=1e-5)
        assert row.lpips == pytest.approx(abs(truth.mean() - guess.mean()), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_figures_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    whole, parts = run(batch_size=3), run(batch_size=batch_size)
    assert parts.frames["trivial"].equals(whole.frames["trivial"])
    np.testing.assert_allclose(parts.frames[COLUMNS], whole.frames[COLUMNS], rtol=1e-5, atol=1e-6)


def test_a_batch_at_a_time_is_read_and_reported() -> None:
    split, heard = Split(), list[float]()
    run(split=split, batch_size=3, heard=heard)
    assert split.largest == 3
    assert heard == pytest.approx([3 / 7, 6 / 7, 1])


def test_the_first_clips_are_scored() -> None:
    assert run(count=4).frames["sequence"].max() == 3


def test_means_and_horizon_are_those_of_the_rows() -> None:
    result = run()
    truth, last = Split().pixels[:, CONTEXT:] / 255, Split().pixels[:, CONTEXT - 1 : CONTEXT] / 255
    for name, metric in {"mse": mse, "mae": mae, "psnr": psnr}.items():
        values = metric(last.expand_as(truth), truth)
        assert result.means()[name] == pytest.approx(values.mean().item(), rel=1e-5)
        assert result.horizon()[name].tolist() == pytest.approx(values.mean(0).tolist(), rel=1e-5)
    assert list(result.means()) == list(QUALITY)
    assert result.horizon().index.tolist() == [1, 2]


def test_predictions_are_clamped_before_every_metric() -> None:
    split = Split()
    split.pixels.fill_(255)
    result = run(lambda context, horizon: copy_last(context, horizon) * 3, split, showcase_clips=1)
    frames = {name: metric.perfect for name, metric in QUALITY.items() if not metric.ratio}
    assert result.means() == frames | {"psnr": 100}
    assert result.not_measured == {
        "skill": "nothing moves in these clips",
        "sharpness": "these clips have no fine detail",
        "motion": "nothing moves in these clips",
        "mse_changed": "no pixel changes in these clips",
    }
    assert {key for key, _, _ in result.points()} == {f"horizon/{name}" for name in frames}
    assert result.showcase["prediction"].min() == 255


def test_low_precision_predictions_are_scored_in_float32() -> None:
    result = run(lambda context, horizon: copy_last(context, horizon).bfloat16())
    assert result.means()["mse"] == pytest.approx(run().means()["mse"], rel=1e-2)


def test_a_broken_prediction_is_not_averaged_away() -> None:
    truth = torch.rand(3, HORIZON, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    broken = truth.clone()
    broken[0, 0, 0, 0, 0] = torch.nan
    scorer = FrameScorer(plain(truth))
    scorer.add(broken, truth, torch.zeros_like(truth[:, :1]), mse(truth, torch.zeros(())))
    result = scorer.scores({}, 1.0)
    assert all(math.isnan(value) for value in result.means().values())
    assert result.horizon().isna().all(axis=1).tolist() == [True, False]


def test_what_cannot_be_measured_is_nan_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips, "loaded", missing)
    result = run(split=Split(side=6))
    assert result.not_measured == {
        "lpips": "no weights today",
        "ssim": "SSIM needs frames of at least 7x7 pixels, not 6x6",
    }
    lacking = ["ssim", "lpips", "ssim_range2", "ssim_grey", "ssim_bytes", "lpips_unscaled"]
    assert result.frames[lacking].isna().all(axis=None)
    assert result.frames.drop(columns=lacking).notna().all(axis=None)
    assert {"mse", "psnr"} <= set(result.means()) == QUALITY.keys() - {"ssim", "lpips"}
    assert set(result.horizon().columns) == set(result.means())


def lightness(frames: Frames) -> Tensor:
    """The sums of the mean lightness of predicted and true frames, and how many there are."""
    if frames.truth.shape[-1] < 8:
        raise NotMeasured("frames are too small")
    pairs = torch.stack((frames.prediction, frames.truth)).mean((-3, -2, -1)).double()
    return torch.cat((pairs.sum((1, 2)), torch.tensor([pairs[0].numel()])))


def lightness_gap(total: Tensor) -> float:
    ours, true, count = total.tolist()
    if count < 5:
        raise NotMeasured("too few frames")
    return float(abs(ours - true) / count)


CLOSED_FORM = outside.Outside("its closed form", lambda output, truth: abs((output - truth).mean()))
OF_THE_SET = Metric(
    key="test/gap",
    label="gap",
    better="lower",
    scope="set",
    function=Sums(lightness, lightness_gap),
    outside=CLOSED_FORM,
    definition="difference of mean lightness",
)
OF_A_SEQUENCE = replace(
    OF_THE_SET,
    key="test/motion",
    scope="sequence",
    function=lambda frames: frames.prediction.diff(dim=1).abs().mean((-4, -3, -2, -1)),
)


def scored(metric: Metric, *batches: tuple[Tensor, Tensor]) -> FrameScores:
    scorer = FrameScorer(plain(batches[0][1]), [METRICS["prediction"]["mse"], metric])
    for output, truth in batches:
        scorer.add(output, truth, truth[:, :1], mse(truth, truth))
    return scorer.scores({}, 1.0)


def test_a_metric_of_the_whole_set_sees_every_batch_and_has_one_figure() -> None:
    output, truth = torch.rand(2, 6, 2, 1, 8, 8)
    result = scored(OF_THE_SET, *zip(output.split(2), truth.split(2), strict=True))
    expected = CLOSED_FORM.compute(output, truth).item()
    assert result.means()["gap"] == pytest.approx(expected, abs=1e-6)
    assert "gap" not in result.frames
    assert {name for name, _, _ in result.points()} == {"horizon/mse"}


def test_a_metric_of_the_whole_set_may_be_out_of_reach_from_the_start_or_at_the_end() -> None:
    for side, reason in ((4, "frames are too small"), (8, "too few frames")):
        result = scored(OF_THE_SET, (torch.rand(2, 2, 1, side, side),) * 2)
        assert result.not_measured == {"gap": reason}
        assert set(result.means()) == {"mse"}


def test_a_metric_of_a_sequence_stands_in_each_of_its_rows_and_has_no_curve() -> None:
    output, truth = torch.rand(2, 3, 4, 1, 8, 8)
    result = scored(OF_A_SEQUENCE, (output, truth))
    expected = (output[:, 1:] - output[:, :-1]).abs().mean((1, 2, 3, 4)).tolist()
    assert result.frames["motion"].tolist() == pytest.approx(np.repeat(expected, 4).tolist())
    assert result.means()["motion"] == pytest.approx(np.mean(expected))
    assert list(result.horizon()) == ["mse"]


def test_the_showcase_is_the_first_the_worst_and_the_median_sequences_as_bytes() -> None:
    split = Split()
    result = run(split=split, batch_size=3, showcase_clips=5)
    kept = result.showcase
    by_error = result.frames.groupby("sequence")["mse"].mean().sort_values()  # of copy-last
    worst = [s for s in by_error.index[::-1] if s not in (0, 1)][:2]
    near = [*by_error.index[3:], *by_error.index[2::-1]]
    median = next(s for s in near if s not in (0, 1, *worst))
    assert kept["sequence"].tolist() == [0, 1, *worst, median]
    assert kept["why"].tolist() == ["first"] * 2 + ["worst for copy-last"] * 2 + [
        "median for copy-last"
    ]
    clips = split.pixels[kept["sequence"]].numpy()
    np.testing.assert_array_equal(kept["context"], clips[:, :CONTEXT])
    np.testing.assert_array_equal(kept["truth"], clips[:, CONTEXT:])
    np.testing.assert_array_equal(kept["prediction"], clips[:, [CONTEXT - 1] * HORIZON])
    assert {kept[name].dtype for name in ("context", "truth", "prediction")} == {np.dtype("uint8")}


def test_showcase_predictions_are_rounded_not_cut() -> None:
    def nearly_100(context: Tensor, horizon: int) -> Tensor:
        return torch.full_like(copy_last(context, horizon), 99.7 / 255)

    assert np.unique(run(nearly_100, showcase_clips=1).showcase["prediction"]).tolist() == [100]


def test_no_showcase_is_an_empty_one() -> None:
    assert run().showcase["prediction"].shape == (0, HORIZON, 1, 9, 9)


def test_speed_is_of_the_forward_pass_without_the_first_batch() -> None:
    seconds = iter((0.0, 0.1))

    def slow(context: Tensor, horizon: int) -> Tensor:
        time.sleep(next(seconds))
        return copy_last(context, horizon)

    speed = run(slow, count=4, batch_size=2).frames_per_second
    assert 0 < speed <= 2 * HORIZON / 0.1


def test_gradients_are_off_and_a_wrong_shape_is_refused() -> None:
    weight = torch.ones((), requires_grad=True)

    def one_frame(context: Tensor, horizon: int) -> Tensor:
        assert not (context * weight).requires_grad
        return copy_last(context, 1)  # would broadcast against the truth

    with pytest.raises(ValueError, match=r"of shape \[3, 1, 1, 9, 9\], not \[3, 2, 1, 9, 9\]"):
        run(one_frame)


def test_validation_is_the_same_mse() -> None:
    heard = list[float]()
    held_out = HeldOut(Split(), 5, 2, CPU, heard.append)
    value = TASK.validate(lambda clips: TASK.forward(copy_last, clips), held_out)
    assert value == pytest.approx(run(count=5).means()["mse"], rel=1e-6)
    assert heard == pytest.approx([2 / 5, 4 / 5, 1])


def test_what_is_written_reads_back_and_points_are_means_per_frame(tmp_path: Path) -> None:
    result = run(showcase_clips=2)
    result.write(tmp_path)
    table = pd.read_parquet(tmp_path / records.PER_FRAME_TABLE)
    pd.testing.assert_frame_equal(table, result.frames)
    with np.load(tmp_path / records.SHOWCASE) as kept:
        assert kept["why"].tolist() == ["first", "worst for copy-last"]
    points = {(key, step): value for key, value, step in result.points()}
    assert len(points) == len(QUALITY) * HORIZON
    expected = table.loc[table["frame"] == 2, "mse"].mean()
    assert points["horizon/mse", 2] == pytest.approx(expected)
