"""The file of published figures, held against the names of the house and the claims."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.literature import published
from bench.literature.claims import Claim, Published, all_claims
from bench.literature.conventions import CONVENTIONS
from bench.literature.published import CERTAINTY, PublishedRow
from bench.suite import catalogue
from bench.suite.reference import Reference

ROWS = published.all_rows()


def test_the_package_reads_the_file_in_results() -> None:
    results = Path(__file__).parents[3] / "results" / "published.csv"
    assert published.FILE.resolve() == results.resolve()
    assert len(results.read_text(encoding="utf-8").splitlines()) == len(ROWS) + 1


def test_models_and_data_sets_are_of_the_house() -> None:
    names = [Reference.parse(row.dataset).name for row in ROWS]
    assert set(names) <= set(catalogue.all_datasets())
    assert {row.test_data for row in ROWS} - {""} <= set(catalogue.all_datasets())
    models = {row.model for row in ROWS} - {""}
    assert {Reference.parse(model).name for model in models} <= set(catalogue.predictors())
    for model in models:
        written = Reference.parse(model)
        assert written.label(written.name) == model  # as a cell is called
        assert written.options.keys() <= {*catalogue.options_of(catalogue.model(model))}


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


PIXELS = {  # of a frame, over which the MSE of the convention "openstl" is summed
    "moving_mnist": 64 * 64,
    "moving_fashion_mnist": 64 * 64,
    "kth": 128 * 128,
    "human36m": 3 * 256 * 256,
    "kitti_caltech": 3 * 128 * 160,
    "moving_mnist/cifar": 3 * 64 * 64,
}
LARGEST_GAP = 3.5  # dB that the mean PSNR of frames lies above that of their mean MSE; 3.0 is seen
CHECKED = [
    row
    for row in ROWS
    if row.convention == "openstl" and row.dataset in PIXELS and {"mse", "psnr"} <= {*row.figures}
]


@pytest.mark.parametrize("row", CHECKED, ids=lambda row: f"{row.dataset}-{row.published_as}")
def test_a_psnr_that_its_mse_rules_out_is_marked_doubtful(row: PublishedRow) -> None:
    allowed = 10 * math.log10(PIXELS[row.dataset] / float(row.figures["mse"]))
    is_possible = -0.1 <= float(row.figures["psnr"]) - allowed <= LARGEST_GAP
    assert is_possible or row.doubt.startswith("psnr")


REFERENCES = [(claim, published) for claim in all_claims() for published in claim.published]


@pytest.mark.parametrize(("claim", "reference"), REFERENCES)
def test_a_claim_refers_to_one_row_each_of_models_that_it_tests(
    claim: Claim, reference: Published
) -> None:
    row = reference.row
    assert row.model in {model for test in claim.tests for model, _ in test.cells}
    assert row.figures.keys() & CONVENTIONS[row.convention].figures.keys()


def test_a_reference_to_no_row_or_to_several_is_refused() -> None:
    several = {"dataset": "moving_mnist", "published_as": "PredRNN", "convention": "openstl"}
    for wanted in (several, several | {"published_as": "Nobody"}):
        with pytest.raises(LookupError, match="rows of published"):
            Published(**wanted, context_frames=10, horizon=10).row  # noqa: B018
