"""What the plots of the report are made of, and that they stay legible with many models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bench import records
from bench.records import Measure
from bench.report import table
from bench.report.cells import cell_table
from bench.report.columns import COLUMNS
from bench.report.curves import Curves
from bench.report.plots.canvas import (
    ONE_COLUMN,
    TWO_COLUMNS,
    keep_possible,
    pdf,
    spread,
    styles,
)
from bench.report.plots.fronts import pareto, speed_plots
from bench.report.plots.horizons import horizon_plots
from bench.report.plots.learning import POINTS, band, learning_plots
from bench.report.plots.seeds import seed_plots
from bench.report.plots.sweeps import sweep_plots
from bench.report.scores import SequenceScores
from bench.report.section import sections
from bench.score.metrics import RECORDED
from tests.bench.report.report_store import FakeStore, example, only_section

MSE = COLUMNS["prediction"][0]
TOP1 = COLUMNS["recognition"][0]


def test_a_band_is_the_median_and_the_bounds_of_the_seeds() -> None:
    x = [np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0]), np.array([1.0, 3.0])]
    y = [np.array([9.0, 5.0, 1.0]), np.array([3.0, 1.0]), np.array([6.0, 2.0])]
    found = band(x, y)
    assert found.x.tolist() == [1, 2, 3]  # from where all have begun; at 3 two keep their last
    assert found.median.tolist() == [5, 1, 1]
    assert found.low.tolist() == [2, 1, 1]
    assert found.high.tolist() == [6, 4, 2]


def test_a_long_curve_becomes_short_and_smooth() -> None:
    x = np.arange(3000.0)
    noisy = np.where(x % 2 == 0, 1.0, 3.0) + x / 1000
    found = band([x], [noisy])
    assert len(found.x) == POINTS
    assert (found.x[0], found.x[-1]) == (0, 2999)
    assert np.abs(found.median - 2 - found.x / 1000).max() < 1.2
    assert np.abs(np.diff(found.median)).max() < 1.2


def test_samples_are_steps_of_the_cells_own_batches(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for name, batch in (("small_batches", 2), ("large_batches", 8)):
        spent = {"train/steps": 400.0, "train/samples": 400.0 * batch}
        store.add(name, 0.02, metrics=spent)
    curves = Curves(store).of(only_section(store))
    ends = curves[curves["metric"] == records.TRAIN_LOSS].groupby("model").last()
    assert ends["samples"].to_dict() == {"small_batches": 800, "large_batches": 3200}
    assert set(ends["steps"]) == {400}
    looks = styles(cell_table(store, "mnist"))
    loss, validation = learning_plots(curves, looks, "1")
    assert [picture.choice for picture in loss] == ["seconds"]
    assert [picture.choice for picture in validation] == ["seconds", "steps", "samples"]


def test_the_pareto_front_holds_what_nothing_surpasses_in_both() -> None:
    points = pd.DataFrame(
        {
            "label": ["best", "dominated", "middle", "twin", "fast", "slow"],
            "speed": [1.0, 2.0, 3.0, 3.0, 9.0, 0.5],
            "mse": [0.1, 0.4, 0.2, 0.3, 0.5, 0.1],
            "marked": "",
        }
    )
    assert pareto(points, "speed", MSE)["label"].tolist() == ["best", "middle", "fast"]
    higher = points.assign(video_top1=1 - points["mse"])
    assert pareto(higher, "speed", TOP1)["label"].tolist() == ["best", "middle", "fast"]


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=20), st.floats(0.01, 0.05))
def test_labels_stand_apart_in_order_and_inside(heights: list[float], gap: float) -> None:
    ordered = np.sort(heights)
    places = spread(ordered, gap)
    assert (np.diff(places) > gap - 1e-9).all()
    assert places[0] > -1e-9
    assert places[-1] < 1 + 1e-9


def test_a_label_with_room_stays_beside_its_point() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1).tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5], 0.1).tolist() == pytest.approx([0.45, 0.55])


def test_a_dozen_models_look_different_and_of_more_the_best_stand_out(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for number in range(12):
        store.add(f"model_{number:02d}", 0.03 - number / 1e3)
    looks = styles(cell_table(store, "mnist"))
    assert len({(look.color, look.dash) for look in looks.values()}) == 12
    store.add("thirteenth", 0.05)
    looks = styles(cell_table(store, "mnist"))
    ahead = {name for name, look in looks.items() if not look.is_behind}
    assert ahead == {f"model_{number:02d}" for number in range(6, 12)}
    assert len({look.color for look in looks.values()}) == 7
    quality = SequenceScores(store).horizon(only_section(store))
    ((picture,), *_) = horizon_plots(quality, looks, "1")
    drawn = re.findall(r'<path data-model="([^"]*)-small"[^>]*style="([^"]*)"', picture.svg)
    lines = dict(reversed(drawn))  # without the leaders, which are drawn later
    assert {*list(dict(drawn))[-6:]} == ahead  # in front
    assert {name for name, style in lines.items() if "var(--back)" in style} == {*looks} - ahead


def test_seeds_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.05, size="only", baseline=True)
    for seed, mse in enumerate((0.020, 0.021, 0.025)):
        store.add("convlstm", mse, seed=seed)
    looks = styles(cell_table(store, "mnist"))
    section = only_section(store)
    (first, *_), *others = seed_plots(section, table.summary(section), looks, "1")
    assert first.name == "1-seeds-mse"
    assert len(others) == 2
    store.runs = store.runs[:2]
    section = only_section(store)
    assert seed_plots(section, table.summary(section), looks, "1") == []


def swept(store: FakeStore, *datasets: str, horizon: str = "10") -> list[str]:
    """The titles of the sweeps over `datasets`, of which a model has a figure each."""
    store.runs.clear()
    for number, dataset in enumerate(datasets):
        params = {"dataset": dataset, "horizon": horizon}
        tags = {records.DATA_DIGEST: f"{number}" * 8}
        store.add("convlstm", 0.02, params=params, tags=tags)
        store.add("predrnn", 0.03, params=params, tags=tags)
    cells = cell_table(store, "mnist")
    parts = [(section, table.summary(section)) for section in sections(cells)]
    found = sweep_plots(parts, styles(cells))
    for sweep in found:
        assert len(sweep.plots) == 3  # quality, training speed, peak memory
        assert "feed" not in sweep.setting
    return [sweep.title for sweep in found]


def test_an_option_in_several_values_is_swept(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    shares = [f"ucf101(train_share={share}, horizon=5)" for share in (0.01, 0.1, 1)]
    assert swept(store, *shares) == ["ucf101(horizon=5) by train share, small models"]
    assert swept(store, "ucf101", "kth", "moving_mnist") == []
    assert swept(store, *shares[:1], "ucf101(train_share=0.1, horizon=10)") == []
    assert swept(store, "frames(name='a', size=3)", "frames(name='b', size=4)") == []


def test_a_default_that_was_recorded_counts(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for dataset, horizon in (("kth", "20"), ("kth(horizon=40)", "40")):
        params = {"dataset": dataset, "horizon": horizon}
        store.add("convlstm", 0.02, params=params, tags={records.DATA_DIGEST: horizon})
    cells = cell_table(store, "mnist")
    parts = [(section, table.summary(section)) for section in sections(cells)]
    (sweep,) = sweep_plots(parts, styles(cells))
    assert sweep.title == "kth by horizon, small models"
    (quality,) = sweep.plots[0]
    assert all(f">{horizon}<" in quality.svg for horizon in ("20", "40"))


def boxes(content: bytes) -> list[float]:
    """Width and height of a PDF's page in inches."""
    found = re.search(rb"/MediaBox \[ ?0 0 ([0-9.]+) ([0-9.]+)", content)
    assert found is not None
    return [float(points) / 72 for points in found.groups()]


def test_a_picture_as_pdf_is_as_wide_as_a_column_and_stays_what_it_was(tmp_path: Path) -> None:
    store = example(tmp_path)
    section = only_section(store)
    looks = styles(cell_table(store, "mnist"))
    ((picture,), *_) = speed_plots(section, table.summary(section), looks, "1")
    before = picture.figure.get_size_inches().tolist()
    narrow, wide = pdf(picture, ONE_COLUMN), pdf(picture, TWO_COLUMNS)
    assert boxes(narrow)[0] == pytest.approx(ONE_COLUMN, abs=0.01)
    assert boxes(wide)[0] == pytest.approx(TWO_COLUMNS, abs=0.01)
    assert boxes(narrow)[1] == pytest.approx(boxes(wide)[1])
    assert picture.figure.get_size_inches().tolist() == pytest.approx(before)
    assert pdf(picture, ONE_COLUMN) == narrow


def test_long_names_leave_room_for_the_axes(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for seed in (0, 1):
        store.add("long_" * 9, 0.02 + seed / 100, seed=seed)
    section = only_section(store)
    looks = styles(cell_table(store, "mnist"))
    ((picture,), *_) = speed_plots(section, table.summary(section), looks, "1")
    assert ONE_COLUMN < boxes(pdf(picture, ONE_COLUMN))[0] < TWO_COLUMNS


def test_what_is_drawn_of_a_model_carries_its_name(tmp_path: Path) -> None:
    store = example(tmp_path)
    section = only_section(store)
    looks = styles(cell_table(store, "mnist"))
    ((picture,), *_) = horizon_plots(SequenceScores(store).horizon(section), looks, "1")
    tagged = re.findall(r'<(path|g) data-model="([^"]*)"', picture.svg)
    models = ["predrnn-small", "convlstm-small", "maxvit-small", "mean_frame", "copy_last"]
    for kind, each in (("path", 2), ("g", 1)):  # the line and its leader; the name
        assert sorted(name for its, name in tagged if its == kind) == sorted(each * models)
    assert "models:" not in picture.svg
    assert "var(--line)" not in picture.plain_svg


def axis(measure: Measure, low: float, high: float) -> tuple[float, float]:
    axes = Figure().add_subplot()
    axes.set_ylim(low, high)
    keep_possible(axes.yaxis, measure)
    return axes.get_ylim()


def test_axes_show_no_impossible_value() -> None:
    metrics = {**RECORDED["prediction"], **RECORDED["recognition"]}
    assert axis(metrics["mse"], -0.1, 0.5) == (0, 0.5)
    assert axis(metrics["ssim"], -0.1, 1.2) == (-0.1, 1)
    assert axis(metrics["skill"], -80, 105) == (-80, 100)
    assert axis(metrics["video_top1"], -5, 105) == (0, 100)
    assert axis(metrics["psnr"], 5, 30) == (5, 30)
    assert axis(metrics["sharpness"], -0.01, 1.2) == (0, 1.2)


def test_the_front_leaves_its_room_to_the_models(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.5, size="only", baseline=True)
    for model, mse in (("a", 0.02), ("b", 0.021), ("c", 0.022)):
        store.add(model, mse)
    section = only_section(store)
    looks = styles(cell_table(store, "mnist"))
    *_, (picture,) = speed_plots(section, table.summary(section), looks, "1")
    (axes,) = picture.figure.axes
    assert axes.get_ylim()[1] < 0.03
    assert axes.get_xlim()[1] < 1000
    assert "copy_last is beyond, at 0.50000" in picture.title
