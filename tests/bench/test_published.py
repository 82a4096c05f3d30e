"""The file of published figures, held against the names of the house and the claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.literature import published
from bench.literature.claims import CERTAINTY, all_claims
from bench.literature.conventions import CONVENTIONS
from bench.literature.published import PublishedRow
from bench.suite import catalogue

ROWS = published.all_rows()


def test_the_package_reads_the_file_in_results() -> None:
    results = Path(__file__).parents[2] / "results" / "published.csv"
    assert published.FILE.resolve() == results.resolve()
    assert len(results.read_text(encoding="utf-8").splitlines()) == len(ROWS) + 1


def test_models_and_data_sets_are_of_the_house() -> None:
    assert {row.dataset for row in ROWS} <= set(catalogue.all_datasets())
    assert {row.test_data for row in ROWS} - {""} <= set(catalogue.all_datasets())
    assert {row.model for row in ROWS} - {""} <= set(catalogue.predictors())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.dataset}-{row.published_as}")
def test_every_row_says_what_and_whence(row: PublishedRow) -> None:
    assert row.figures
    assert all(float(value) > 0 for value in row.figures.values())
    assert row.source
    assert row.budget
    assert row.split
    assert row.certainty in CERTAINTY
    assert int(row.context_frames) > 0
    assert int(row.horizon) > 0
    assert not row.samples or int(row.samples) > 0
    assert bool(row.test_data) == bool(row.test_clips)
    assert not row.convention or row.figures.keys() & CONVENTIONS[row.convention].figures.keys()


def test_figures_of_claims_stand_in_the_file() -> None:
    known = {
        (row.convention, row.certainty, name, float(value))
        for row in ROWS
        for name, value in row.figures.items()
    }
    for claim in all_claims():
        for figures in claim.published:
            for name, value in figures.figures.items():
                assert (figures.convention, figures.certainty, name, value) in known
