"""Verdicts on claims, from synthetic cells whose true effects are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.literature.claims import Beats, Claim, Defect, Effect, Gains, all_claims
from bench.report import load
from bench.report.claims import Finding, findings
from bench.report.scores import SequenceScores
from tests.bench.report.report_store import FakeStore

SEQUENCES = 60
BEATS = Beats(kind="beats", suite="own", measure="mse", first="a", second="b", dataset="near")
GAINS = Gains(
    kind="gains", suite="own", measure="mse", first="a", second="b", before="near", after="far"
)
DEFECT = Defect(
    what="Frames were <shuffled>.",
    effects=(Effect(suite="own", measure="mse", model="a", sound="near", defective="far"),),
)
CLAIM = Claim(name="own", sentence="A beats B.", source="a study", tests=(BEATS,))


class Cells:
    """Adds cells whose scores by sequence have the means that are asked for."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore(folder)
        self._random = np.random.default_rng(0)
        self._hard = {"same": self._random.gamma(4, 0.25, (SEQUENCES, 1))}

    def add(
        self,
        model: str,
        dataset: str,
        means: Sequence[float],
        digest: str = "same",
        metrics: dict[str, float] | None = None,
        **params: str,
    ) -> None:
        """A finished cell a seed, each sequence as hard as it is under that digest."""
        if digest not in self._hard:
            self._hard[digest] = self._random.gamma(4, 0.25, (SEQUENCES, 1))
        for seed, mean in enumerate(means):
            chosen = {"dataset": dataset, **params}
            tags = {records.DATA_DIGEST: digest}
            run = self.store.add(model, mean, seed=seed, params=chosen, tags=tags, metrics=metrics)
            tremble = 1 + 0.01 * self._random.standard_normal((SEQUENCES, 10))
            scores = self._hard[digest] * tremble
            self.store.keep_scores(run, mean * scores / scores.mean())

    def skip(self, model: str, dataset: str) -> None:
        """A cell that did not run, for lack of data."""
        why = {records.ERROR: f"prepare {dataset}", records.DATA_DIGEST: ""}
        skipped = records.Status.SKIPPED
        self.store.add(model, None, status=skipped, params={"dataset": dataset}, tags=why)

    def findings(self, *claims: Claim) -> list[Finding]:
        sections = load.sections(load.cell_table(self.store, "mnist"))
        return findings(claims, sections, SequenceScores(self.store))

    def verdict(self, *tests: Beats | Gains) -> tuple[str, list[str]]:
        """On a claim with these tests: its verdict, and what was said of each."""
        (found,) = self.findings(CLAIM.model_copy(update={"tests": tests}))
        return found.verdict, [f"{test.told} · {test.said}" for test in found.tests]


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path / "artifacts")


def test_a_claim_is_upheld_where_every_test_surely_is(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    assert cells.verdict(BEATS) == (
        "upheld",
        [
            "as claimed · near: a-small beats b-small on MSE: 20 % lower, "
            "95 % interval 18 to 22 %, 3 seeds, 60 sequences"
        ],
    )


def test_one_test_that_surely_fails_is_enough_against_it(cells: Cells) -> None:
    for dataset in ("near", "far"):
        ours, theirs = (0.08, 0.1) if dataset == "near" else (0.1, 0.08)
        cells.add("a", dataset, (ours, 1.01 * ours, 0.99 * ours), dataset)
        cells.add("b", dataset, (theirs, 1.01 * theirs, 0.99 * theirs), dataset)
    verdict, said = cells.verdict(BEATS, BEATS.model_copy(update={"dataset": "far"}))
    assert verdict == "not upheld"
    assert said[1].startswith("against it · far: b-small beats a-small on MSE: 20 % lower")


@pytest.mark.parametrize("measure", ["mse", "ssim"])
def test_models_that_copying_beats_tell_nothing(cells: Cells, measure: str) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    digest = {records.DATA_DIGEST: "same"}
    copied = {"params": {"dataset": "near"}, "tags": digest, "baseline": True, "size": "only"}
    cells.store.add("copy_last", 0.09, **copied)
    test = BEATS.model_copy(update={"measure": measure})
    assert cells.verdict(test)[0] == "upheld"
    cells.store.add("copy_last", 0.07, **copied)
    verdict, (said,) = cells.verdict(test)
    assert verdict == "cannot be told with this budget"
    assert said.endswith("3 seeds, 60 sequences; but neither beats copy-last on near")


@pytest.mark.parametrize("disturbed", ["a", "b"])
def test_a_model_that_trained_under_disturbed_conditions_decides_no_claim(
    cells: Cells, disturbed: str
) -> None:
    for model, mean in (("a", 0.01), ("b", 0.02)):
        stopped = {records.STOPPED_SECONDS: 25.0 if model == disturbed else 0.0}
        cells.add(model, "near", [mean, mean, mean], metrics=stopped)
    (finding,) = cells.findings(CLAIM)
    assert finding.tests[0].told == "cannot be told"
    assert f"{disturbed}-small/moving_mnist/0 was stopped for 25.0 s" in finding.tests[0].said


def test_what_seeds_leave_open_cannot_be_told(cells: Cells) -> None:
    cells.add("a", "near", (0.08, 0.10, 0.12))
    cells.add("b", "near", (0.09, 0.11, 0.13))
    verdict, (said,) = cells.verdict(BEATS)
    assert verdict == "cannot be told with this budget"
    assert said.startswith("cannot be told · near: a-small and b-small cannot be told apart")


@pytest.mark.parametrize("ours", [0.08, 0.12])
def test_one_seed_decides_nothing(cells: Cells, ours: float) -> None:
    cells.add("a", "near", (ours,))
    cells.add("b", "near", (0.10, 0.101, 0.099))
    verdict, (said,) = cells.verdict(BEATS)
    assert verdict == "cannot be told with one seed"
    assert said.startswith("one seed · near: ")
    assert said.endswith("no interval")


def test_a_measure_where_higher_is_better_turns_the_claim(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    table = load.cell_table(cells.store, "mnist")
    for run in table.loc[table["model"] == "a", "run_id"]:
        path = cells.store.folder / run / records.PER_FRAME_TABLE
        frames = pd.read_parquet(path)
        frames["ssim"] = 0.4  # b's is 0.5
        frames.to_parquet(path)
    verdict, (said,) = cells.verdict(BEATS.model_copy(update={"measure": "ssim"}))
    assert verdict == "not upheld"
    assert "b-small beats a-small on SSIM: 10 points higher" in said


@pytest.mark.parametrize(
    ("after", "told", "verdict", "words"),
    [
        (0.06, "as claimed", "upheld", "a-small gains on b-small: the ratio of their MSE goes "),
        (0.16, "against it", "not upheld", "a-small loses on b-small: the ratio of their MSE goes"),
        (0.12, "cannot be told", "cannot be told with this budget", "a-small neither gains nor"),
    ],
)
def test_gains_from_one_data_set_to_another(
    cells: Cells, after: float, told: str, verdict: str, words: str
) -> None:
    spread = np.array([1, 1.02, 0.98])
    for dataset, ours in (("near", 0.12), ("far", after)):
        cells.add("a", dataset, ours * spread, dataset)
        cells.add("b", dataset, 0.1 * spread, dataset)
    found, (said,) = cells.verdict(GAINS)
    assert found == verdict
    assert said.startswith(f"{told} · From near to far {words}")
    assert f"1.20 to {after / 0.1:.2f}, " in said


def test_the_same_test_sequences_are_paired(cells: Cells) -> None:
    """As of a larger share of the training data, which leaves the test as it is."""
    for dataset, digest in (("near", "same"), ("far", "same"), ("other", "another")):
        for model in ("a", "b"):
            mean = 0.08 if model == "a" else 0.1
            cells.add(model, dataset, (mean, 1.001 * mean, 0.999 * mean), digest)
    apart = DEFECT.effects[0].model_copy(update={"defective": "other"})
    both = Defect(what="", effects=(*DEFECT.effects, apart))
    (found,) = cells.findings(CLAIM.model_copy(update={"defects": (both,)}))
    paired, loose = (_width(said) for said in found.effects[0])
    assert paired < 1 < 10 < loose


def _width(said: str) -> float:
    low, high = said.split("95 % interval ")[1].split(" %")[0].split(" to ")
    return float(high) - float(low)


def test_the_effect_of_a_defect_is_said_without_a_verdict(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    cells.add("a", "far", (0.160, 0.162, 0.158))
    (found,) = cells.findings(CLAIM.model_copy(update={"defects": (DEFECT,)}))
    assert found.verdict == "upheld"
    assert found.effects == (
        (
            "a-small, MSE on far against near: 100 % higher, 95 % interval 94 to 106 %, "
            "3 seeds, 60 sequences",
        ),
    )


def test_an_effect_that_seeds_leave_open_may_be_chance(cells: Cells) -> None:
    cells.add("a", "near", (0.08, 0.10, 0.12))
    cells.add("b", "near", (0.10,))
    cells.add("a", "far", (0.09, 0.11, 0.13))
    (found,) = cells.findings(CLAIM.model_copy(update={"defects": (DEFECT,)}))
    assert found.effects[0][0].endswith("3 seeds, 60 sequences; it may be chance")


def test_skipped_cells_are_not_tested_and_say_why(cells: Cells) -> None:
    for model in ("a", "b"):
        cells.skip(model, "near")
    verdict, said = cells.verdict(BEATS)
    assert verdict == "not tested here"
    assert said == ["not tested here · a on near skipped: prepare near"]


def test_an_untested_part_leaves_the_claim_open(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    verdict, said = cells.verdict(BEATS, GAINS)
    assert verdict == "cannot be told from part of it"
    assert said[1] == "not tested here · no cell of a on far; the suite own has it"


def test_a_seed_that_failed_is_named_beside_those_that_count(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    near = {"dataset": "near"}
    of_same = {records.DATA_DIGEST: "same", records.ERROR: "loss is NaN"}
    diverged = records.Status.DIVERGED
    cells.store.add("a", None, seed=3, status=diverged, params=near, tags=of_same)
    verdict, (said,) = cells.verdict(BEATS)
    assert verdict == "upheld"
    assert said.endswith("3 seeds, 60 sequences; not counted: a-small/moving_mnist/3 diverged")


def test_scores_that_were_not_stored_are_missed(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.store.add("b", 0.1, params={"dataset": "near"}, tags={records.DATA_DIGEST: "same"})
    assert cells.verdict(BEATS)[1] == [
        "not tested here · no scores of several sequences of b on near",
    ]


def test_a_claim_is_shown_where_its_cells_are_and_settings_are_not_mixed(cells: Cells) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    assert cells.findings(CLAIM) == []
    cells.add("b", "near", (0.100, 0.101, 0.099), budget="600 s")
    assert cells.findings(CLAIM) == []
    cells.add("a", "near", (0.120, 0.121, 0.119), budget="600 s")
    cells.add("b", "near", (0.100, 0.101, 0.099))
    found = cells.findings(CLAIM)
    assert [(it.verdict, it.setting.split(" of ")[0]) for it in found] == [
        ("upheld", "small models · 120 s"),
        ("not upheld", "small models · 600 s"),
    ]


def test_the_memory_suite_tests_the_claim_on_sith(cells: Cells) -> None:
    """SITH loses at 10 frames and gains with 1,000: as the file has it."""
    spread = np.array([1, 1.01, 0.99])
    for frames, sith in ((10, 0.14), (1000, 0.07)):
        dataset = f"moving_mnist/long(context_frames={frames})"
        cells.add("convlstm", dataset, 0.1 * spread, dataset)
        cells.add("sith", dataset, sith * spread, dataset)
    (found,) = cells.findings(*all_claims())
    assert (found.claim.name, found.verdict) == ("sith-context", "upheld")
    assert found.effects[0][0].startswith("Not tested here: no cell of convlstm on moving_mnist")


def test_the_report_shows_claims_before_the_chapters(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.add("a", "near", (0.080, 0.081, 0.079))
    cells.add("b", "near", (0.100, 0.101, 0.099))
    claim = CLAIM.model_copy(update={"defects": (DEFECT,)})
    monkeypatch.setattr(report, "all_claims", lambda: (claim,))
    page = report.build(cells.store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.index('id="claims"') < page.index('id="section-1"')
    for text in (page, markdown):
        assert "A beats B." in text
        assert "20 % lower, 95 % interval 18 to 22 %, 3 seeds, 60 sequences" in text
        assert "Frames were &lt;shuffled&gt;." in text
        assert "no cell of a on far; the suite own has it" in text
    assert "**Upheld.** one test: 1 as claimed · small models · 120 s" in markdown
    assert "Upheld.</strong></summary>" in page


def test_a_report_without_their_cells_says_nothing_of_claims(cells: Cells, tmp_path: Path) -> None:
    cells.add("a", "near", (0.080,))
    page = report.build(cells.store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    assert 'id="claims"' not in page
    assert "Claims" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_nothing_is_so_many_per_cent_of_a_perfect_model(cells: Cells) -> None:
    cells.add("a", "near", (1e-30, 1e-30))
    for model, dataset in (("b", "near"), ("a", "far"), ("b", "far")):
        cells.add(model, dataset, (0.1, 0.11))
    why = "a is perfect on near, of which nothing is so many per cent"
    assert cells.verdict(GAINS)[1] == [f"not tested here · {why}"]
    (found,) = cells.findings(CLAIM.model_copy(update={"defects": (DEFECT,)}))
    assert found.effects == ((f"Not tested here: {why}",),)
