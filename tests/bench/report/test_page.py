"""The report of a synthetic store whose numbers are known."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image, ImageColor

from bench import records, report
from bench.errors import UserError
from bench.report import table
from bench.report.cells import cell_table
from bench.report.parts import parts
from bench.report.plots.canvas import PALETTE, Picture, Style, styles
from bench.report.plots.fronts import speed_plots
from bench.report.plots.horizons import horizon_plots
from bench.report.plots.learning import learning_plots
from tests.bench.report.report_store import FakeStore, example, only_section


@dataclass
class Built:
    """The report of `example`, for tests that only read it."""

    store: FakeStore
    folder: Path
    page: str
    markdown: str
    sheet: pd.DataFrame


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return example(tmp_path / "artifacts")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    store = example(folder / "artifacts")
    (folder / "out" / "plots").mkdir(parents=True)
    for name in ("7-gone-loss.png", "7-gone-loss-wide.pdf", "my own.png", "2024-my-thesis.pdf"):
        (folder / "out" / "plots" / name).touch()
    (folder / "out" / "report.md").write_text("![a plot](plots/7-gone-loss.png)\n")
    page = report.build(store, "mnist", folder / "out")
    markdown, sheet = page.with_name("report.md"), page.with_name("table.csv")
    return Built(store, page.parent, page.read_text(), markdown.read_text(), pd.read_csv(sheet))


def test_all_three_files_hold_the_same_numbers(built: Built) -> None:
    sheet = built.sheet.set_index(["label", "seeds"])
    assert sheet.loc[("predrnn-small", "0 1 2"), "mse"] == pytest.approx(0.021)
    assert sheet.loc[("predrnn-small", "0 1 2"), "mse_half_width"] == pytest.approx(0.00248414)
    assert sheet.loc[("maxvit-small", "0"), "not_measured"] == "lpips: no <b>AlexNet</b> weights"
    assert sheet.loc[("maxvit-small", "1"), "reason"] == "loss is NaN at step 40"
    section = only_section(built.store)
    shown = parts(table.printed(section, table.summary(section)))
    assert shown.cost is not None
    assert shown.same in built.page
    assert shown.same in built.markdown
    for row in (*shown.quality.rows, *shown.cost.rows):
        assert row.label in built.page
        assert row.label in built.markdown
        for figure in row.entries:
            assert figure.text in built.page
            assert (f"**{figure.text}**" if figure.best else figure.text) in built.markdown
    assert re.search(r'class="figure best"\s+data-value="0.021[0-9]*"', built.page)
    assert "diverged: loss is NaN at step 40; run again: <code>python -m" in built.markdown


def test_plots_of_an_earlier_report_go_and_others_stay(built: Built) -> None:
    plots = {path.name for path in (built.folder / "plots").iterdir()}
    shown = set(re.findall(r"\(plots/(.*?)\)", built.markdown))
    assert {name for name in plots if name.endswith(".png")} == shown | {"my own.png"}
    drawn = {name.removesuffix(".png") for name in shown if "frames" not in name}
    others = {f"{name}.svg" for name in drawn}
    assert plots == shown | {"my own.png", "2024-my-thesis.pdf"} | others


def test_user_text_is_escaped(built: Built) -> None:
    for written in (built.page, built.markdown):
        assert "<script>alert" not in written
        assert "<b>AlexNet" not in written
        assert "&lt;script&gt;alert" in written
    assert r"a\|b &#96;c&#96;" in built.markdown


def test_each_seed_that_did_not_finish_has_a_line_of_its_own(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    for seed in (0, 1):
        store.add("late", None, seed=seed, status=records.Status.SKIPPED)
    page = report.build(store, "mnist", tmp_path / "out")
    lines = [f"python -m bench cell --cell late-small/moving_mnist/{seed}" for seed in (0, 1)]
    markdown = page.with_name("report.md").read_text()
    assert f"<code>{lines[0]}</code><br><code>{lines[1]}</code>" in markdown
    assert "\n".join(lines) in page.read_text()


def test_page_asks_for_nothing(built: Built) -> None:
    page = re.sub(r'<a href="[^"]*">', "", built.page)  # followed when somebody clicks
    asked = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import\s+(\S+)', page)
    targets = {target for match in asked for target in match if target}
    assert targets
    assert all(target.strip("'\"").startswith(("data:", "#")) for target in targets)


def test_pictures_show_something(built: Built) -> None:
    pictures = sorted((built.folder / "plots").glob("[0-9]*.png"))
    names = {picture.stem.removeprefix("1-moving_mnist-") for picture in pictures}
    assert names == {
        "loss",
        "validation-mse",
        "validation-mse-by-steps",
        "horizon-mse",
        "horizon-skill",
        "horizon-ssim",
        "seeds-mse",
        "seeds-ssim",
        "seeds-lpips",
        "training-speed",
        "prediction-speed",
        "frames-3",
        "frames-7",
    }
    for picture in pictures:
        pixels = np.asarray(Image.open(picture).convert("RGB")) / 255
        assert pixels.std() > 0.02
        assert (pixels[:, [0, -1]] == 1).all()  # no label is cut off
        assert f"plots/{picture.name}" in built.markdown
    in_page = {picture.stem for picture in pictures if "frames" not in picture.stem}
    assert len(re.findall(r"<svg[^>]*viewBox", built.page)) == len(in_page)


def test_provenance_says_what_is_shared_and_what_is_not(built: Built) -> None:
    page = re.sub(r"\s+", " ", built.page)
    assert page.count("<dt>torch</dt><dd>2.13.0</dd>") == 1
    assert "<dt>seed</dt><dd>2</dd>" in page
    assert "MLflow run run8" in page


def test_odd_names_stay_in_their_place(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("a$b$<i>", 0.02, params={"dataset": "../../away <i>"})
    text = report.build(store, "mnist", tmp_path / "out").read_text()
    assert "<i>" not in text.replace("<i></i>", "")
    assert "a$b$&lt;i&gt;-small" in text
    written = list(tmp_path.rglob("*.png"))
    assert written
    assert {path.parent for path in written} == {tmp_path / "out" / "plots"}


def test_only_baselines_make_a_report(store: FakeStore, tmp_path: Path) -> None:
    store.runs = store.runs[:2]
    text = report.build(store, "mnist", tmp_path).read_text()
    assert "No trained model has finished" in text
    assert "0.05000" in text


@pytest.mark.usefixtures("undrawn")
def test_no_stored_frames_make_no_viewer(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    none = np.zeros((0, 10, 1, 64, 64), np.uint8)
    store.show(store.add("mine", 0.02), none, none, none)
    page = report.build(store, "mnist", tmp_path / "out").read_text()
    assert "mine-small" in page
    assert "<h3>Frames</h3>" not in page


def blue_of(picture: Picture) -> npt.NDArray[np.bool_]:
    """Where the first trained model's colour is, [H,W]."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))
    return (pixels == ImageColor.getrgb(PALETTE[0])).all(axis=2)


def test_one_model_alone_is_drawn_against_its_speed(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    for seed in (0, 1):
        store.add("alone", 0.0115 + seed / 1000, seed=seed)
    section = only_section(store)
    looks = styles(cell_table(store, "mnist"))
    plots = speed_plots(section, table.summary(section), looks, "1")
    assert len(plots) == 2
    for (picture,) in plots:
        assert blue_of(picture)[:, 150:600].sum() > 100  # within the axes: the dot, its interval


def test_one_point_of_a_learning_curve_is_seen() -> None:
    columns = ["label", "model", "run_id", "metric", "train_seconds", "steps", "samples", "value"]
    point = ("mine", "mine", "0", "val/mse", 5.2, 10, np.nan, 1.8)
    curve = pd.DataFrame([point], columns=columns)
    (pictures,) = learning_plots(curve, {"mine": Style(PALETTE[0], "-")}, "1")
    assert [picture.choice for picture in pictures] == ["seconds", "steps"]  # not samples: unknown
    for picture in pictures:
        assert blue_of(picture)[:, 150:600].sum() > 50  # the name stands beyond


def test_one_predicted_frame_has_no_curve() -> None:
    columns = ["label", "model", "metric", "frame", "value"]
    one = pd.DataFrame([("mine", "mine", "mse", 1, 0.02)], columns=columns)
    two = pd.concat([one, one.assign(frame=2)])
    looks = {"mine": Style(PALETTE[0], "-")}
    assert horizon_plots(one, looks, "1") == []
    assert [picture.name for (picture,) in horizon_plots(two, looks, "1")] == ["1-horizon-mse"]


def test_unknown_suite_is_refused(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nothing'"):
        report.build(store, "nothing", tmp_path)


def test_the_same_store_gives_the_same_page(built: Built, tmp_path: Path) -> None:
    assert report.build(built.store, "mnist", tmp_path).read_text() == built.page
