"""Published figures beside measured ones, from cells whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.literature.conventions import NOT_STORED
from bench.literature.published import PublishedRow
from bench.report.cells import cell_table
from bench.report.published import Beside, PublishedTable, published_tables
from bench.report.scores import SequenceScores
from bench.report.section import sections
from tests.bench.report.report_store import FakeStore

ROW = PublishedRow(
    dataset="moving_mnist",
    model="convlstm",
    published_as="ConvLSTM <S>",
    context_frames="10",
    horizon="10",
    budget="200 epochs",
    samples="2000000",
    split="the official clips",
    test_data="moving_mnist/official",
    test_clips="10000",
    convention="openstl",
    figures={"mse": "29.80", "ssim": "0.9288"},
    params_m="7.1",
    certainty="V",
    doubt="",
    source="a | table",
)
AGREES = {"dataset": "moving_mnist/official", "budget": "2000000 samples", "test_clips": "10000"}


def add(
    store: FakeStore, mse: float, *, seed: int = 0, size: str = "published", **params: str
) -> None:
    """A ConvLSTM whose unclamped error is twice its clamped one."""
    run = store.add(
        "convlstm",
        mse,
        seed=seed,
        size=size,
        params={"frame_shape": "1x64x64", "test_clips": "1000", **params},
    )
    frames = {
        "sequence": np.repeat(np.arange(5), 10),
        "frame": np.tile(np.arange(1, 11), 5),
        "mse": mse,
        "mse_unclamped": 2 * mse,
        "ssim_range2": 0.9,
    }
    pd.DataFrame(frames).to_parquet(store.folder / run / records.PER_FRAME_TABLE)


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path / "artifacts")


def tables(store: FakeStore, *rows: PublishedRow) -> list[PublishedTable]:
    parts = sections(cell_table(store, "mnist"))
    return published_tables(rows, parts, SequenceScores(store))


def changed(**fields: object) -> PublishedRow:
    values = {name: getattr(ROW, name) for name in ROW.__dataclass_fields__}
    return PublishedRow(**(values | fields))


def test_where_all_agrees_there_is_a_ratio(store: FakeStore) -> None:
    for seed, mse in enumerate((0.003, 0.005)):
        add(store, mse, seed=seed, **AGREES)
    (table,) = tables(store, ROW)
    (row,) = table.rows
    mean = 2 * 0.004 * 64 * 64  # unclamped, summed over a frame
    assert row.entries == (
        Beside("29.80", f"{mean:.4g}", f"{mean / 29.80:.2f}"),
        Beside("0.9288", "0.9", "0.97"),
    )
    assert (table.headings, row.comparable) == (("MSE", "SSIM"), "comparable")
    assert table.conventions[0].startswith("openstl: MSE and MAE summed over a frame")


def test_a_doubtful_row_is_shown_and_compared_with_nothing(store: FakeStore) -> None:
    add(store, 0.004, **AGREES)
    (table,) = tables(store, changed(doubt="psnr: its MSE allows 21"))
    (row,) = table.rows
    assert row.comparable == "not comparable (doubtful: psnr: its MSE allows 21)"
    assert [entry.published for entry in row.entries] == ["29.80", "0.9288"]
    assert not any(entry.ratio for entry in row.entries)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"budget": "120 s"}, "budget: 200 epochs, here 120 s"),
        (
            {"test_clips": "1000"},
            "test: the official clips, here 1000 clips of moving_mnist/official",
        ),
        (
            {"dataset": "moving_mnist"},
            "test: the official clips, here 10000 clips of moving_mnist",
        ),
        ({"size": "small"}, "size: published, here small"),
    ],
)
def test_what_differs_takes_the_place_of_the_ratio(
    store: FakeStore, other: dict[str, str], why: str
) -> None:
    add(store, 0.004, **(AGREES | other))
    (table,) = tables(store, ROW)
    (row,) = table.rows
    assert row.comparable == f"not comparable ({why})"
    assert row.entries[0] == Beside("29.80", "32.77")


def test_another_architecture_of_the_same_name_is_another_size(store: FakeStore) -> None:
    add(store, 0.004, **AGREES)
    (table,) = tables(store, changed(params_m="46.8"))
    why = "size: 46.8 M parameters, here 7.44 M"
    assert table.rows[0].comparable == f"not comparable ({why})"


def test_a_part_of_the_training_data_is_other_data(store: FakeStore) -> None:
    add(store, 0.004, **(AGREES | {"dataset": "moving_mnist/official(train_share=0.1)"}))
    assert "of moving_mnist/official(train_share=0.1)" in tables(store, ROW)[0].rows[0].comparable


def test_figures_without_a_convention_are_not_repeated(store: FakeStore) -> None:
    add(store, 0.004, **AGREES)
    (table,) = tables(store, changed(convention=""))
    assert table.rows[0].comparable == "not comparable (convention: not known)"
    assert table.rows[0].entries[0] == Beside("29.80", "—")


def test_figures_that_were_not_stored_say_so(store: FakeStore) -> None:
    add(store, 0.004, **AGREES)
    lpips = changed(convention="predrnn", figures={"mse_per_frame": "56.8", "lpips": "0.1"})
    (table,) = tables(store, lpips)
    assert table.rows[0].entries == (
        Beside("56.8", "16.38", "0.29"),
        Beside("0.1", NOT_STORED),
    )


def test_only_rows_of_the_section_are_shown(store: FakeStore) -> None:
    add(store, 0.004)
    others = [
        changed(model="predrnn"),
        changed(model=""),
        changed(dataset="kth"),
        changed(horizon="20"),
    ]
    assert tables(store, *others) == []
    add(store, 0.004, dataset="moving_mnist/seq2seq")
    assert len(tables(store, *others, ROW)) == 1


@pytest.mark.usefixtures("undrawn")
def test_the_report_ends_with_the_published_figures(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, 0.004, **AGREES)
    monkeypatch.setattr(report, "all_rows", lambda: (ROW,))
    page = report.build(store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.index('id="section-1"') < page.index('id="published"')
    assert "ConvLSTM &lt;S&gt;" in page
    assert "32.77 · ratio 1.10" in page
    assert (
        "| convlstm-published | ConvLSTM &lt;S&gt; | openstl | 29.80 / 32.77 (ratio 1.10) | "
        "0.9288 / 0.9 (ratio 0.97) | comparable | a \\| table [V] |"
    ) in markdown
