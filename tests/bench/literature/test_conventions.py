import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.literature.conventions import CONVENTIONS, columns, figures
from bench.literature.published import all_rows
from bench.score import lpips
from bench.score.frame_scores import FrameScores
from bench.score.lpips import Perceptual, WeightsMissing
from bench.score.measure import measure
from bench.score.metrics import METRICS, RECORDED
from bench.score.outside import lpips_network
from bench.train.held_out import HeldOut
from bench.train.task import task_of
from datasets.contract import Spec
from datasets.sources.folders import find
from tests.bench.literature import literal_conventions as literal

CPU = torch.device("cpu")
ALL = METRICS["prediction"].keys()
TOLERANCE = {"rel": 1e-4, "abs": 1e-5}


def missing(device: torch.device) -> Perceptual:
    raise WeightsMissing("no weights today")


@dataclass
class Case:
    """Predictions, beyond [0,1] too, of clips of bytes, and the table a test writes of them."""

    prediction: Tensor
    clips: Tensor

    @property
    def truth(self) -> Tensor:
        return self.clips[:, 1:].float() / 255

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.clips.shape[2:]
        return channels, height, width

    @property
    def arrays(self) -> tuple[literal.Array, literal.Array]:
        return self.prediction.numpy(), self.truth.numpy()

    def table(self) -> pd.DataFrame:
        task = task_of("prediction", Spec(self.frame_shape, 1, self.prediction.shape[1]))
        held_out = HeldOut(self.clips, len(self.clips), 2, CPU, lambda _: None)
        batches = iter(self.prediction.split(2))
        scores = measure(task, lambda clips: next(batches), held_out, 0, ALL)
        assert isinstance(scores, FrameScores)
        return scores.frames

    def figures(self, convention: str) -> dict[str, float | None]:
        return figures(self.table(), self.frame_shape, convention)


def case(
    seed: int, sequences: int, horizon: int, shape: tuple[int, int, int], noise: float
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.rand(sequences, 1 + horizon, shape[0], 2, 3, generator=generator).round()
    clips = torch.nn.functional.interpolate(clips.flatten(0, 1), shape[1:])
    clips = (clips * 200).byte().unflatten(0, (sequences, 1 + horizon))
    truth = clips[:, 1:].float() / 255
    return Case(truth + torch.randn(truth.shape, generator=generator) * noise, clips)


@st.composite
def cases(draw: st.DrawFn, fewest: int = 1, square: bool = False) -> Case:
    height, width = draw(st.integers(7, 20)), draw(st.integers(7, 20))
    return case(
        draw(st.integers(0, 2**31)),
        draw(st.integers(fewest, 5)),
        draw(st.integers(1, 3)),
        (draw(st.integers(1, 3)), height, height if square else width),
        draw(st.sampled_from([0.02, 0.3, 2.0])),
    )


@pytest.fixture(autouse=True, scope="module")
def _without_weights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpips, "loaded", missing)
        yield


def agree(found: dict[str, float | None], expected: dict[str, float]) -> None:
    known = {name: found[name] for name in expected}
    assert known == {name: pytest.approx(value, **TOLERANCE) for name, value in expected.items()}


@settings(max_examples=25)
@given(cases())
def test_openstl(example: Case) -> None:
    agree(example.figures("openstl"), literal.openstl(*example.arrays, None))


@settings(max_examples=25)
@given(cases(fewest=4), st.integers(1, 3))
def test_predrnn_over_the_batches_that_it_does_not_drop(example: Case, batch_size: int) -> None:
    expected, kept = literal.predrnn(*example.arrays, None, batch_size)
    assert 0 < kept < len(example.clips)
    table = example.table()
    agree(figures(table[table["sequence"] < kept], example.frame_shape, "predrnn"), expected)


@settings(max_examples=25)
@given(cases(fewest=4))
def test_ucf101_study_with_batches_of_one_size(example: Case) -> None:
    example = Case(example.prediction[:4].sigmoid(), example.clips[:4])
    agree(example.figures("ucf101_study"), literal.ucf101_study(*example.arrays, batch_size=2))


@settings(max_examples=25)
@given(cases(square=True), st.integers(1, 3))
def test_lmc(example: Case, batch_size: int) -> None:
    agree(example.figures("lmc"), literal.lmc(*example.arrays, None, batch_size))


def test_lpips_of_every_convention_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if not find("lpips/alexnet_torchvision_features.npz"):
        pytest.skip("AlexNet's weights are not in the data folder")
    metric, network = Perceptual.load(CPU), lpips_network()
    monkeypatch.setattr(lpips, "loaded", lambda device: metric)

    def distance(first: literal.Array, second: literal.Array) -> Any:
        with torch.no_grad():
            distances: literal.Array = network(*map(torch.from_numpy, (first, second))).numpy()
        return distances

    for channels in (1, 3):
        example = case(0, 3, 2, (channels, 36, 36), noise=0.3)
        found = {name: example.figures(name) for name in ("openstl", "lmc")}
        agree(found["openstl"], literal.openstl(*example.arrays, distance))
        agree(found["lmc"], literal.lmc(*example.arrays, distance, 2))
        assert found["lmc"]["lpips"] != pytest.approx(found["openstl"]["lpips"], rel=0.01)
        expected, kept = literal.predrnn(*example.arrays, distance, 1)
        table = example.table()
        agree(figures(table[table["sequence"] < kept], example.frame_shape, "predrnn"), expected)


@pytest.mark.parametrize("convention", [name for name in CONVENTIONS if "weather" not in name])
def test_a_perfect_frame_counts_as_100_db_where_the_published_code_has_infinity(
    convention: str,
) -> None:
    example = case(1, 2, 2, (1, 9, 9), noise=0.0)
    found = example.figures(convention)
    assert found.get("psnr", 100) == 100
    assert {found["mse"], found["ssim"]} == {0, 1}
    assert literal.openstl(*example.arrays, None)["psnr"] == math.inf
    assert literal.predrnn(*example.arrays, None, 1)[0]["psnr"] == math.inf


@settings(max_examples=15)
@given(cases())
def test_clamping_never_makes_an_error_larger(example: Case) -> None:
    table = example.table()
    assert (table["mse"] <= table["mse_unclamped"] + 1e-6).all()
    assert (table["mae"] <= table["mae_unclamped"] + 1e-6).all()
    inside = Case(example.prediction.clamp(0, 1), example.clips).table()
    np.testing.assert_array_equal(inside["mse"], inside["mse_unclamped"])
    np.testing.assert_array_equal(inside["mae"], inside["mae_unclamped"])


@settings(max_examples=15)
@given(cases())
def test_predictions_of_whole_bytes_score_alike_as_bytes(example: Case) -> None:
    table = Case(example.prediction.mul(255).round() / 255, example.clips).table()
    np.testing.assert_allclose(table["ssim_bytes"], table["ssim"], atol=1e-5)
    np.testing.assert_allclose(table["psnr_bytes"], table["psnr"], rtol=1e-4)


@settings(max_examples=15)
@given(cases())
def test_one_channel_is_its_own_mean_and_a_wider_range_hides_more(example: Case) -> None:
    grey = Case(example.prediction[:, :, :1], example.clips[:, :, :1]).table()
    np.testing.assert_array_equal(grey["ssim_grey"], grey["ssim"])
    # Where no window runs against the truth, SSIM grows with the supposed range.
    mixed = Case((example.truth + 0.5) / 2, example.clips).table()
    assert (mixed["ssim_range2"] >= mixed["ssim"] - 1e-6).all()


def test_tables_without_a_column_are_reported_all_the_same() -> None:
    example = case(2, 2, 2, (1, 9, 9), noise=0.3)
    table = example.table()
    old = table[[name for name in table if name in {"sequence", "frame", *RECORDED["prediction"]}]]
    for name in CONVENTIONS:
        whole, found = example.figures(name), figures(old, example.frame_shape, name)
        assert list(found) == list(whole)
        kept = {key: value for key, value in found.items() if value is not None}
        assert all(kept[key] == pytest.approx(whole[key], nan_ok=True) for key in kept)
    assert figures(old, example.frame_shape, "openstl")["mse"] is None
    assert figures(old, example.frame_shape, "openstl")["psnr"] is not None
    assert None not in figures(old, example.frame_shape, "nextframe").values()


def test_what_was_not_measured_or_broke_is_nan_and_not_averaged_away() -> None:
    example = case(3, 2, 2, (1, 9, 9), noise=0.3)
    found = example.figures("lmc")
    assert found["lpips"] is not None
    assert math.isnan(found["lpips"])
    table = example.table()
    table.loc[2, table.columns[2:]] = math.nan
    for name in CONVENTIONS:
        broken = figures(table, example.frame_shape, name).values()
        assert all(value is None or math.isnan(value) for value in broken)


def test_scales_by_hand() -> None:
    table = pd.DataFrame({"sequence": [0, 0, 1, 1], "frame": [1, 2, 1, 2], "mse": [1.0, 2, 3, 4]})
    shape = 3, 4, 5
    assert figures(table, shape, "nextframe")["mse"] == 2.5
    assert figures(table, shape, "predrnn")["mse"] == 2.5 * 60 * 2
    assert figures(table, shape, "predrnn")["mse_per_frame"] == 2.5 * 60
    assert figures(table, shape, "lmc")["mse"] == 2.5 * 20


def test_conventions_are_made_of_stored_columns_and_use_all_that_are_stored_for_them() -> None:
    metrics = METRICS["prediction"]
    used = {figure.column for each in CONVENTIONS.values() for figure in each.figures.values()}
    parts = {part for metric in metrics.values() if metric.ratio for part in metric.parts}
    assert metrics.keys() - RECORDED["prediction"].keys() - parts <= used
    assert all(metrics[column].scope == "frame" for column in used)


@pytest.mark.parametrize("variant", ["", "/official", "(context_frames=10)"])
def test_a_cell_has_the_columns_of_every_figure_that_the_report_sets_beside_it(
    variant: str,
) -> None:
    shown = [row for row in all_rows() if row.model and row.convention]
    for row in shown:
        of_convention = CONVENTIONS[row.convention].figures
        dataset = row.dataset if "(" in row.dataset else row.dataset + variant
        found = columns(row.model, dataset, int(row.context_frames), int(row.horizon))
        needed = {of_convention[name].column for name in row.figures.keys() & of_convention.keys()}
        assert needed <= found


def test_figures_of_one_variable_are_not_those_of_another() -> None:
    assert columns("convlstm", "weatherbench", 12, 12) == {"rmse"}
    assert columns("convlstm", "weatherbench(variable='r', held_out_stride=1)", 12, 12) == {"rmse"}
    assert not columns("convlstm", "weatherbench(variable='rtuv')", 12, 12)
    rows = [row for row in all_rows() if row.is_of("weatherbench(variable='r')", 12, 12)]
    assert {row.dataset for row in rows} == {"weatherbench(variable='r')"}


def test_other_cells_have_none_of_them() -> None:
    assert columns("predrnn", "moving_mnist", 10, 10) >= {"lpips_unscaled", "ssim_range2"}
    assert "lpips_unscaled" not in columns("simvp", "moving_mnist", 10, 10)
    assert not columns("predrnn", "moving_mnist", 10, 11)
    assert not columns("predrnn", "moving_mnist/noisy", 10, 10)
    assert not columns("copy_last", "moving_mnist", 10, 10)


def test_frames_too_small_for_ssim_have_the_other_figures() -> None:
    example = case(4, 2, 1, (1, 6, 9), noise=0.3)
    found = example.figures("predrnn")
    squared = (example.truth - example.prediction.clamp(0, 1)).square()
    assert found["mse"] == pytest.approx(squared.sum().item() / 2, rel=1e-4)
    assert found["ssim"] is not None
    assert math.isnan(found["ssim"])
