"""The report of a synthetic store whose numbers are known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench import report
from bench.errors import UserError
from bench.report import table
from tests.bench.report_store import FakeStore, example, only_section


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
    for row in table.printed(section, table.summary(section)).rows:
        assert row.label in built.page
        assert row.label in built.markdown
        for figure in row.entries:
            assert figure.text in built.page
            assert (f"**{figure.text}**" if figure.best else figure.text) in built.markdown
    assert re.search(r'class="figure best"\s+data-value="0.021[0-9]*"', built.page)
    assert "diverged: loss is NaN at step 40; run again: <code>python -m" in built.markdown


def test_user_text_is_escaped(built: Built) -> None:
    for written in (built.page, built.markdown):
        assert "<script>alert" not in written
        assert "<b>AlexNet" not in written
        assert "&lt;script&gt;alert" in written
    assert r"a\|b &#96;c&#96;" in built.markdown


def test_page_asks_for_nothing(built: Built) -> None:
    asked = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import\s+(\S+)', built.page)
    targets = {target for match in asked for target in match if target}
    assert targets
    assert all(target.strip("'\"").startswith(("data:", "#")) for target in targets)


def test_pictures_show_something(built: Built) -> None:
    pictures = sorted((built.folder / "plots").glob("*.png"))
    names = {picture.stem.removeprefix("1-moving_mnist-") for picture in pictures}
    assert names == {
        "loss",
        "validation-mse",
        "horizon-mse",
        "horizon-ssim",
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
    assert built.page.count("<svg") == len(pictures)


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


def test_unknown_suite_is_refused(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nothing'"):
        report.build(store, "nothing", tmp_path)


def test_the_same_store_gives_the_same_page(store: FakeStore, tmp_path: Path) -> None:
    first = report.build(store, "mnist", tmp_path / "a").read_text()
    assert report.build(store, "mnist", tmp_path / "b").read_text() == first


def test_torch_is_not_imported() -> None:
    listing = "import json, sys, bench.report; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert "bench.report.page" in loaded
    assert "torch" not in loaded
