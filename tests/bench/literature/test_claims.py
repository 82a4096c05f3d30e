"""The claims file, held against the models, data sets, suites and conventions of the house."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bench.literature import claims
from bench.literature.claims import Beats, Claim, Gains
from bench.suite import catalogue
from bench.suite.reference import Reference
from bench.suite.suite import load_suite, suite_names

CLAIMS = claims.all_claims()


def test_every_claim_has_a_name_of_its_own() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_contrasts_point_at_cells_of_their_suite(claim: Claim) -> None:
    effects = [effect for defect in claim.defects for effect in defect.effects]
    for asked in (*claim.tests, *effects):
        suite = load_suite(asked.suite)  # which checks that models and data sets exist
        assert len(suite.seeds) > 1, "one seed decides nothing"
        for model, dataset in asked.cells:
            assert model in suite.models
            assert dataset in suite.datasets


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_names_are_written_as_cells_record_them(claim: Claim) -> None:
    effects = [effect for defect in claim.defects for effect in defect.effects]
    for asked in (*claim.tests, *effects):
        for model, dataset in asked.cells:
            known_model, known_dataset = catalogue.model(model), catalogue.dataset(dataset)
            assert Reference.parse(model).label(known_model.name) == model
            assert Reference.parse(dataset).label(known_dataset.name) == dataset


def test_a_claim_names_metrics_and_only_errors_have_ratios() -> None:
    cells = {"suite": "own", "first": "a", "second": "b"}
    with pytest.raises(ValidationError, match="no metric 'beauty'"):
        Beats(kind="beats", measure="beauty", dataset="near", **cells)
    with pytest.raises(ValidationError, match="ssim is no error"):
        Gains(kind="gains", measure="ssim", before="near", after="far", **cells)


def test_every_claims_suite_is_asked_for() -> None:
    asked = {test.suite for claim in CLAIMS for test in claim.tests}
    assert asked == {name for name in suite_names() if name.startswith("claims-")}
