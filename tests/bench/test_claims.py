"""The claims file, held against the models, data sets, suites and conventions of the house."""

from __future__ import annotations

import pytest

from bench.literature import claims
from bench.literature.claims import Claim
from bench.literature.conventions import CONVENTIONS
from bench.suite import catalogue
from bench.suite import suite as suites
from bench.suite.reference import Reference

CLAIMS = claims.all_claims()


def test_every_claim_has_a_name_of_its_own() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names) == 5


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_contrasts_point_at_cells_of_their_suite(claim: Claim) -> None:
    effects = [effect for defect in claim.defects for effect in defect.effects]
    for asked in (*claim.tests, *effects):
        suite = suites.load(asked.suite)  # which checks that models and data sets exist
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


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_published_figures_are_of_a_convention(claim: Claim) -> None:
    for published in claim.published:
        assert published.figures.keys() <= CONVENTIONS[published.convention].figures.keys()


def test_every_claims_suite_is_asked_for() -> None:
    asked = {test.suite for claim in CLAIMS for test in claim.tests}
    assert asked == {name for name in suites.names() if name.startswith("claims-")}
