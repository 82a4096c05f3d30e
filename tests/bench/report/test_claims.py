"""Verdicts on claims, from synthetic cells whose true effects are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.literature.claims import (
    BASELINE,
    Beats,
    Claim,
    Defect,
    Effect,
    Gains,
    Longer,
    Minimum,
    Sooner,
    all_claims,
)
from bench.report.cells import cell_table
from bench.report.claims.finding import Finding, Outcome, Trial
from bench.report.claims.outcomes import findings
from bench.report.curves import Curves
from bench.report.scores import SequenceScores
from bench.report.section import sections
from tests.bench.report.report_store import FakeStore

SEQUENCES = 60
BEATS = Beats(kind="beats", suite="own", measure="mse", first="a", second="b", dataset="near")
GAINS = Gains(
    kind="gains", suite="own", measure="mse", first="a", second="b", before="near", after="far"
)
LONGER = Longer(kind="longer", suite="own", measure="mse", first="a", second="b", dataset="near")
SOONER = Sooner(kind="sooner", suite="own", first="a", second="b", dataset="near", unit="samples")
OVER_BASELINE = BEATS.model_copy(update={"second": BASELINE})
DEFECT = Defect(
    what="Frames were <shuffled>.",
    effects=(Effect(suite="own", measure="mse", model="a", sound="near", defective="far"),),
)
CLAIM = Claim(name="own", sentence="A beats B.", source="a study", primary=BEATS)
STEPS = {records.TRAIN_STEPS: 2000.0, "train/samples": 8000.0}
GOOD, WORSE = (0.0200, 0.0202, 0.0198), (0.0250, 0.0252, 0.0248)
WIDE = (0.015, 0.022, 0.030)


class Cells:
    """Adds cells whose scores by sequence have the means that are asked for."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore(folder)
        self._random = np.random.default_rng(0)
        self._hard: dict[str, Any] = {}

    def add(
        self,
        model: str,
        dataset: str,
        means: Sequence[float],
        digest: str = "same",
        *,
        metrics: dict[str, float] | None = None,
        baseline: bool = False,
        **params: str,
    ) -> list[str]:
        """A finished cell a seed, each sequence as hard as it is under that digest; their runs."""
        hard = self._hard.setdefault(digest, self._random.gamma(4, 0.25, (SEQUENCES, 1)))
        runs = []
        for seed, mean in enumerate(means):
            run = self.store.add(
                model,
                mean,
                seed=seed,
                baseline=baseline,
                size="only" if baseline else "small",
                params={"dataset": dataset, **params},
                tags={records.DATA_DIGEST: digest},
                metrics=(STEPS if not baseline else {}) | (metrics or {}),
            )
            scores = hard * (1 + 0.01 * self._random.standard_normal((SEQUENCES, 10)))
            self.store.keep_scores(run, mean * scores / scores.mean())
            runs.append(run)
        return runs

    def both(
        self, ours: Sequence[float] = GOOD, theirs: Sequence[float] = WORSE, **of: Any
    ) -> None:
        """Cells of a and b on one data set."""
        dataset = of.pop("dataset", "near")
        self.add("a", dataset, ours, **of)
        self.add("b", dataset, theirs, **of)

    def learn(self, run: str, steps: Sequence[int], seconds_a_step: float = 0.3) -> None:
        """The run's validation falls from 0.1 to 0.05 and 0.02 at these steps."""
        self.store.curves[run, records.TRAIN_SECONDS] = [(s, s * seconds_a_step) for s in steps]
        falls = zip(steps, (0.1, 0.05, 0.02), strict=True)
        self.store.curves[run, records.VALIDATION["prediction"].key] = [*falls]

    def findings(self, *claims: Claim) -> list[Finding]:
        parts = sections(cell_table(self.store, "mnist"))
        curves = Curves(self.store)
        return findings(claims, parts, SequenceScores(self.store), curves)

    def trial(self, *tests: Any, **changes: Any) -> Trial:
        """Of a claim with these tests, the first of which is the primary, the newest setting."""
        first, *others = tests or (BEATS,)
        asked = {"primary": first, "robustness": tuple(others), **changes}
        return self.findings(CLAIM.model_copy(update=asked))[0].trials[0]

    def outcome(self, *tests: Any, **changes: Any) -> Outcome:
        return self.trial(*tests, **changes).primary


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path / "artifacts")


# --- the primary test ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "margin", "verdict"),
    [
        (GOOD, WORSE, 0, "upheld"),
        (GOOD, WORSE, 10, "upheld"),
        (GOOD, WORSE, 40, "not upheld"),  # 20 % better, and "clearly" is by 40
        (GOOD, WORSE, 20, "cannot be told"),
        (WORSE, GOOD, 0, "not upheld"),
        (WIDE, WIDE, 0, "cannot be told"),
        (GOOD[:1], WORSE, 0, "cannot be told"),  # one seed
        (WORSE, GOOD[:1], 0, "cannot be told"),
    ],
)
def test_the_primary_test_decides_by_its_margin(
    cells: Cells, ours: Sequence[float], theirs: Sequence[float], margin: float, verdict: str
) -> None:
    cells.both(ours, theirs)
    assert cells.trial(BEATS.model_copy(update={"margin": margin})).verdict == verdict


def test_an_outcome_says_by_how_much_and_of_how_many_seeds_and_sequences(cells: Cells) -> None:
    cells.both()
    found = cells.outcome(BEATS.model_copy(update={"margin": 10}))
    for words in ("a-small beats b-small on MSE", "20 % lower", "3 seeds, 60 sequences", "10 %"):
        assert words in found.said


def test_one_seed_has_no_interval(cells: Cells) -> None:
    cells.both(GOOD[:1], WORSE)
    assert cells.outcome().said.endswith("no interval")


def test_a_measure_where_higher_is_better_turns_the_claim(cells: Cells) -> None:
    runs = cells.add("a", "near", GOOD)
    cells.add("b", "near", WORSE)
    for run in runs:
        path = cells.store.folder / run / records.PER_FRAME_TABLE
        pd.read_parquet(path).assign(ssim=0.4).to_parquet(path)  # b's is 0.875
    trial = cells.trial(BEATS.model_copy(update={"measure": "ssim"}))
    assert trial.verdict == "not upheld"
    assert "b-small beats a-small on SSIM" in trial.primary.said


# --- robustness ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "other", "verdict"),
    [
        (1, 1, "upheld"),
        (1, -1, "mixed"),
        (-1, 1, "mixed"),
        (-1, -1, "not upheld"),
        (1, 0, "upheld"),
        (0, 1, "cannot be told"),  # what the study did not test decides nothing
        (0, -1, "cannot be told"),
    ],
)
def test_tests_for_robustness_narrow_a_verdict_and_make_none(
    cells: Cells, primary: int, other: int, verdict: str
) -> None:
    models = {1: (GOOD, WORSE), -1: (WORSE, GOOD), 0: (WIDE, WIDE)}
    cells.both(*models[primary])
    cells.both(*models[other], dataset="far", digest="far")
    far = BEATS.model_copy(update={"dataset": "far"})
    assert cells.trial(BEATS, far).verdict == verdict


def test_several_tests_for_robustness_are_corrected_for_their_number(cells: Cells) -> None:
    """One that is barely sure by itself is not beside three that are open."""
    barely = (0.0190, 0.0200, 0.0210), (0.0218, 0.0228, 0.0238)
    cells.both(GOOD, WORSE)
    names = ["barely", "open1", "open2", "open3"]
    for name in names:
        cells.both(*(barely if name == "barely" else (WIDE, WIDE)), dataset=name, digest=name)
    tests = [BEATS.model_copy(update={"dataset": name}) for name in names]
    assert cells.outcome(tests[0]).told == "as claimed"
    assert cells.trial(BEATS, tests[0]).robustness[0].told == "as claimed"
    beside = cells.trial(BEATS, *tests).robustness[0]
    assert beside.told == "cannot be told"
    assert "beside the other tests" in beside.said


def test_an_untested_test_for_robustness_changes_nothing(cells: Cells) -> None:
    cells.both()
    trial = cells.trial(BEATS, GAINS)
    assert trial.verdict == "upheld"
    assert trial.robustness[0] == Outcome("not tested", "no cell of a on far; the suite own has it")
    assert trial.counted == "2 tests: 1 as claimed, 1 not tested"


# --- the minimum -----------------------------------------------------------------------------


@pytest.mark.parametrize("metrics", [{records.TRAIN_STEPS: 999.0}, {"test/skill": -0.1}])
@pytest.mark.parametrize("weak", ["a", "b"])
def test_a_model_that_learnt_too_little_decides_nothing(
    cells: Cells, weak: str, metrics: dict[str, float]
) -> None:
    for model, means in (("a", GOOD), ("b", WORSE)):
        cells.add(model, "near", means, metrics=metrics if model == weak else {})
    found = cells.trial()
    assert found.verdict == "trained too little"
    assert found.primary.said.startswith(f"{weak} on near")


@pytest.mark.parametrize(("copied", "verdict"), [(0.03, "upheld"), (0.0225, "trained too little")])
def test_both_models_must_beat_every_baseline(cells: Cells, copied: float, verdict: str) -> None:
    cells.both()
    cells.add("copy_last", "near", [copied], baseline=True)
    assert cells.trial().verdict == verdict


@pytest.mark.parametrize("lost", [records.TRAIN_STEPS, "test/skill"])
def test_what_an_old_record_does_not_tell_is_not_taken_for_met(cells: Cells, lost: str) -> None:
    cells.both()
    for run in cells.store.runs:
        del run.metrics[lost]
    assert cells.trial().verdict == "cannot be told"


def test_without_a_skill_baselines_are_enough(cells: Cells) -> None:
    """As of classifiers, and of records from before there was a skill."""
    cells.both()
    cells.add("copy_last", "near", [0.03], baseline=True)
    for run in cells.store.runs:
        del run.metrics["test/skill"]
    assert cells.trial().verdict == "upheld"


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("5", "5", "upheld"),
        ("0", "5", "trained too little"),
        ("3", "5", "cannot be told"),
    ],
)
def test_tuned_recipes_where_they_are_asked_for(
    cells: Cells, ours: str, theirs: str, verdict: str
) -> None:
    """As cells record them: whose the recipe is, and of how many trials it is the best."""
    for model, means, trials in (("a", GOOD, ours), ("b", WORSE, theirs)):
        recipe = {"recipe": "tuned", "recipe.origin": "ours", "recipe.trials": trials}
        cells.add(model, "near", means, **recipe)
    assert cells.trial(minimum=Minimum(tuned=True)).verdict == verdict


@pytest.mark.parametrize("disturbed", ["a", "b"])
def test_a_model_that_trained_under_disturbed_conditions_decides_no_claim(
    cells: Cells, disturbed: str
) -> None:
    for model, means in (("a", GOOD), ("b", WORSE)):
        stopped = {records.STOPPED_SECONDS: 25.0 if model == disturbed else 0.0}
        cells.add(model, "near", means, metrics=stopped)
    trial = cells.trial()
    assert trial.verdict == "cannot be told"
    assert f"{disturbed}-small/moving_mnist/2 was stopped for 25.0 s" in trial.primary.said


# --- cells that are not there ----------------------------------------------------------------


def test_skipped_cells_are_not_tested_and_say_why(cells: Cells) -> None:
    for model in ("a", "b"):
        why = {records.ERROR: "prepare near", records.DATA_DIGEST: ""}
        skipped = records.Status.SKIPPED
        cells.store.add(model, None, status=skipped, params={"dataset": "near"}, tags=why)
    assert cells.outcome() == Outcome("not tested", "a on near skipped: prepare near")


def test_a_seed_that_failed_is_named_beside_those_that_count(cells: Cells) -> None:
    cells.both()
    near, of_same = {"dataset": "near"}, {records.DATA_DIGEST: "same"}
    diverged = records.Status.DIVERGED
    cells.store.add("a", None, seed=3, status=diverged, params=near, tags=of_same)
    trial = cells.trial()
    assert trial.verdict == "upheld"
    assert trial.primary.said.endswith("; not counted: a-small/moving_mnist/3 diverged")


def test_scores_that_were_not_stored_are_missed(cells: Cells) -> None:
    cells.add("a", "near", GOOD)
    tags = {records.DATA_DIGEST: "same"}
    cells.store.add("b", 0.02, params={"dataset": "near"}, tags=tags, metrics=STEPS)
    assert cells.outcome() == Outcome("not tested", "no scores of several sequences of b on near")


def test_a_report_without_their_cells_says_nothing_of_claims(cells: Cells) -> None:
    cells.add("a", "near", GOOD)
    assert cells.findings(CLAIM) == []


# --- the best baseline -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "verdict"), [(GOOD, "upheld"), ((0.0400, 0.0402, 0.0398), "not upheld")]
)
def test_a_model_against_the_best_baseline_may_lose(
    cells: Cells, ours: Sequence[float], verdict: str
) -> None:
    """That it predicts better than trivially is the question here, not what it has to bring."""
    cells.add("a", "near", ours)
    cells.add("mean_frame", "near", [0.035], baseline=True)
    cells.add("copy_last", "near", [0.030], baseline=True)
    trial = cells.trial(OVER_BASELINE)
    assert trial.verdict == verdict
    assert "copy_last" in trial.primary.said


def test_without_any_baseline_there_is_no_best_one(cells: Cells) -> None:
    cells.add("a", "near", GOOD)
    assert cells.trial(OVER_BASELINE).verdict == "not tested"
    tags = {records.DATA_DIGEST: "same"}
    runs = cells.store.add(
        "copy_last", 0.03, size="only", baseline=True, params={"dataset": "near"}, tags=tags
    )
    (cells.store.folder / runs / records.PER_FRAME_TABLE).unlink()
    assert cells.trial(OVER_BASELINE).verdict == "not tested"


# --- from one data set or budget to another --------------------------------------------------


@pytest.mark.parametrize(
    ("after", "told"), [(0.01, "as claimed"), (0.03, "against it"), (0.0202, "cannot be told")]
)
@pytest.mark.parametrize("digest", ["same", "another"])
def test_gains_from_one_data_set_to_another(
    cells: Cells, after: float, told: str, digest: str
) -> None:
    spread = np.array([1, 1.04, 0.96])
    cells.both(0.02 * spread, 0.02 * spread)
    cells.both(after * spread, 0.02 * spread, dataset="far", digest=digest)
    found = cells.outcome(GAINS)
    assert found.told == told
    assert f"from 1.00 to {after / 0.02:.2f}, " in found.said


@pytest.mark.parametrize("test", [GAINS, LONGER], ids=["gains", "longer"])
def test_records_without_clusters_stand_beside_those_with_them(cells: Cells, test: Any) -> None:
    """The same sequences, of which one half of the store knows more."""
    if test is GAINS:
        runs = cells.add("a", "near", WORSE) + cells.add("b", "near", WORSE)
        cells.both(dataset="far")
    else:
        runs = cells.add("a", "near", WORSE) + cells.add("b", "near", WORSE)
        cells.both(budget="600 s")
    for run in runs:
        path = cells.store.folder / run / records.PER_FRAME_TABLE
        table = pd.read_parquet(path)
        table.assign(cluster=table["sequence"] // 2).to_parquet(path)
    assert cells.outcome(test).told == "as claimed"


@pytest.mark.parametrize("digest", ["same", "another"])
def test_more_training_is_compared_with_the_smallest_budget(cells: Cells, digest: str) -> None:
    cells.both(WORSE, GOOD, budget="100 s", digest=digest)
    cells.both((0.026, 0.0262, 0.0258), GOOD, budget="200 s")
    assert cells.outcome(LONGER) == Outcome(
        "not tested", "no cells of a third of this budget or less"
    )
    cells.both(GOOD, GOOD, budget="600 s")
    found = cells.outcome(LONGER)
    assert found.told == "as claimed"
    assert "from 100 s to 600 s" in found.said
    assert "from 1.25 to 1.00" in found.said


def test_a_smaller_budget_is_one_under_which_both_learnt(cells: Cells) -> None:
    cells.both(WORSE, GOOD, budget="10 s", metrics={records.TRAIN_STEPS: 120.0})
    cells.both(GOOD, GOOD, budget="600 s")
    found = cells.outcome(LONGER)
    assert found.told == "trained too little"
    assert found.said.startswith("under 10 s: a on near took 120 of the 1,000 steps")
    cells.both(WORSE, GOOD, budget="100 s")
    longest = cells.findings(CLAIM.model_copy(update={"primary": LONGER}))[0].trials
    assert "from 100 s to 600 s" in {trial.budget: trial for trial in longest}["600 s"].primary.said


@pytest.mark.parametrize("other", [{"budget": "600000 samples"}, {"precision": "bf16"}])
def test_budgets_of_other_settings_are_not_compared(cells: Cells, other: dict[str, str]) -> None:
    cells.both(WORSE, GOOD, budget="100 s")
    cells.both(GOOD, GOOD, **({"budget": "600 s"} | other))
    assert cells.outcome(LONGER).told == "not tested"


def test_nothing_is_so_many_per_cent_of_a_perfect_model(cells: Cells) -> None:
    cells.add("a", "near", (1e-30, 1e-30))
    cells.add("b", "near", GOOD)
    cells.both(dataset="far")
    why = "a is perfect on near, of which nothing is so many per cent"
    assert cells.outcome(GAINS) == Outcome("not tested", why)
    assert cells.trial(defects=(DEFECT,)).effects == ((f"Not tested here: {why}",),)


# --- learning curves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "told"), [(100, "as claimed"), (400, "against it"), (200, "cannot be told")]
)
def test_who_learns_sooner_is_read_off_the_curves(cells: Cells, ours: int, told: str) -> None:
    for model, means, slow in (("a", GOOD, ours), ("b", WORSE, 200)):
        for seed, run in enumerate(cells.add(model, "near", means)):
            cells.learn(run, [slow * step + 4 * seed for step in (1, 2, 3)])
    found = cells.outcome(SOONER)
    assert found.told == told
    assert "3 seeds" in found.said


def test_a_target_between_two_validations_is_reached_between_them(cells: Cells) -> None:
    """Both end at 0.02 or lower; the worst of all reaches 0.035 at its end."""
    for model, means in (("a", GOOD), ("b", WORSE)):
        for run in cells.add(model, "near", means):
            cells.learn(run, [100, 200, 300])
            if model == "b":
                key = records.VALIDATION["prediction"].key
                cells.store.curves[run, key] = [(100, 0.1), (200, 0.05), (300, 0.035)]
    said = cells.outcome(SOONER).said
    assert "validation MSE of 0.035" in said
    assert "a-small needs 1,000 samples, b-small 1,200" in said  # 250 and 300 steps of 4


@pytest.mark.parametrize(
    ("early", "told"), [("a", "as claimed"), ("b", "cannot be told"), ("ab", "cannot be told")]
)
def test_who_was_there_at_the_first_validation_may_have_been_much_sooner(
    cells: Cells, early: str, told: str
) -> None:
    """One validates each 100 steps, and is at the target by the second; the early at the first."""
    key = records.VALIDATION["prediction"].key
    for model, means, slow in (("a", GOOD, 100), ("b", WORSE, 400)):
        for seed, run in enumerate(cells.add(model, "near", means)):
            cells.learn(run, [slow * step + seed for step in (1, 2, 3)])
            steps = [step for step, _ in cells.store.curves[run, key]]
            values = (0.02, 0.02, 0.02) if model in early else (0.1, 0.02, 0.02)
            cells.store.curves[run, key] = [*zip(steps, values, strict=True)]
    found = cells.outcome(SOONER)
    assert found.told == told
    assert ("at its first validation or before" in found.said) == (told == "cannot be told")


def test_seconds_of_a_busy_machine_say_nothing_of_sooner(cells: Cells) -> None:
    """Under a budget of work, too, where a cell is not marked for it."""
    for model, means, slow in (("a", GOOD, 100), ("b", WORSE, 200)):
        busy = {records.CPU_SHARE: 0.5 if model == "b" else 1.0}
        for seed, run in enumerate(
            cells.add(model, "near", means, metrics=busy, budget="1e+13 flops")
        ):
            cells.learn(run, [slow * step + seed for step in (1, 2, 3)])
    assert cells.outcome(SOONER).told == "as claimed"
    found = cells.outcome(SOONER.model_copy(update={"unit": "seconds"}))
    assert found.told == "cannot be told"
    assert "50.0 % of the processor time" in found.said


def test_samples_that_were_not_counted_are_not_compared(cells: Cells) -> None:
    cells.both()
    for run in cells.store.runs:
        del run.metrics["train/samples"]
    assert cells.outcome(SOONER).told == "not tested"


# --- several settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("120 s", "600 s", "depends on the budget"),
        ("120 s", "5000 samples", "depends on the budget kind"),
    ],
)
def test_budgets_that_disagree(cells: Cells, first: str, second: str, verdict: str) -> None:
    cells.both(budget=first)
    cells.both(WORSE, GOOD, budget=second)
    (found,) = cells.findings(CLAIM)
    assert found.verdict == verdict


def test_other_settings_that_disagree_are_not_laid_to_the_budget(cells: Cells) -> None:
    cells.both(budget="120 s")
    cells.both(WORSE, GOOD, budget="5000 samples", precision="bf16")
    (found,) = cells.findings(CLAIM)
    assert found.verdict == "depends on the setting"


def test_a_verdict_carries_its_budget_and_the_kinds_that_have_decided_nothing(
    cells: Cells,
) -> None:
    cells.both(budget="1e+13 flops")
    few = {records.TRAIN_STEPS: 50.0}
    cells.both(budget="60 s", metrics=few)
    (found,) = cells.findings(CLAIM)
    assert found.verdict == "upheld"
    assert found.scope == "under 10 TFLOPs; nothing yet under equal samples or time"
    cells.both(budget="60 s")
    cells.both(budget="5000 samples")
    (found,) = cells.findings(CLAIM)
    assert "nothing yet" not in found.scope


def test_cells_of_several_settings_are_not_compared(cells: Cells) -> None:
    cells.add("a", "near", GOOD)
    cells.add("b", "near", WORSE, budget="600 s")
    assert cells.findings(CLAIM) == []


def test_cells_of_another_suite_beside_them_are_not_mixed_in(cells: Cells) -> None:
    cells.both()
    cells.both(WORSE, GOOD, suite="other", metrics={records.TRAIN_STEPS: 5.0})
    parts = sections(cell_table(cells.store, "mnist", "other"))
    scores, curves = SequenceScores(cells.store), Curves(cells.store)
    (found,) = findings([CLAIM], parts, scores, curves)
    assert found.verdict == "upheld"


def test_of_models_that_were_evaluated_anew_the_newest_cells_decide(cells: Cells) -> None:
    cells.both(evaluations="20")
    assert cells.outcome().told == "as claimed"
    cells.both(WORSE, GOOD, evaluations="5")
    assert cells.outcome().told == "against it"
    cells.both(evaluations="5", dataset="far")  # where no label says so
    assert "from 1.25 to 0.80" in cells.outcome(GAINS).said
    assert cells.trial(defects=(DEFECT,)).effects[0][0].startswith("a-small (5 evaluations), MSE")
    cells.both(GOOD, GOOD, evaluations="5", budget="600 s")
    assert "from 1.25 to 1.00" in cells.outcome(LONGER).said


# --- defects ---------------------------------------------------------------------------------


def test_the_same_test_sequences_are_paired(cells: Cells) -> None:
    """As of a larger share of the training data, which leaves the test as it is."""
    for dataset, digest in (("near", "same"), ("far", "same"), ("other", "another")):
        cells.both(
            (0.0200, 0.02002, 0.01998), (0.025, 0.02502, 0.02498), digest=digest, dataset=dataset
        )
    apart = DEFECT.effects[0].model_copy(update={"defective": "other"})
    both = Defect(what="", effects=(*DEFECT.effects, apart))
    paired, loose = (_width(said) for said in cells.trial(defects=(both,)).effects[0])
    assert paired < 1 < 10 < loose


def _width(said: str) -> float:
    low, high = said.split("95 % interval ")[1].split(" %")[0].split(" to ")
    return float(high) - float(low)


def test_the_effect_of_a_defect_is_said_without_a_verdict(cells: Cells) -> None:
    cells.both()
    cells.add("a", "far", (0.0400, 0.0404, 0.0396))
    trial = cells.trial(defects=(DEFECT,))
    assert trial.verdict == "upheld"
    said = "a-small, MSE on far against near: 100 % higher"
    assert trial.effects[0][0].startswith(said)


@pytest.mark.parametrize(
    ("far", "metrics", "words"),
    [
        (WIDE, {}, "it may be chance"),
        ((0.04, 0.0404, 0.0396), {records.TRAIN_STEPS: 7.0}, "but a on far took 7 of the"),
    ],
)
def test_an_effect_says_what_speaks_against_it(
    cells: Cells, far: Sequence[float], metrics: dict[str, float], words: str
) -> None:
    cells.both()
    cells.add("a", "far", far, metrics=metrics)
    assert words in cells.trial(defects=(DEFECT,)).effects[0][0]


# --- recognition, the file, the report -------------------------------------------------------


@pytest.mark.parametrize(("right", "verdict"), [(50, "upheld"), (25, "trained too little")])
def test_a_claim_on_classifiers(cells: Cells, right: int, verdict: str) -> None:
    truth = [f"class {number % 4}" for number in range(100)]

    def said(count: int, seed: int) -> list[str]:
        names = truth[: count + seed]
        return names + [f"class {(n + 1) % 4}" for n in range(len(names), 100)]

    for seed in range(3):
        cells.store.add_classifier("a", said(90, seed), truth, seed=seed, metrics=STEPS)
        cells.store.add_classifier("b", said(right, seed), truth, seed=seed, metrics=STEPS)
    cells.store.add_classifier("class_frequency", said(30, 0), truth, baseline=True)
    test = BEATS.model_copy(update={"measure": "video_top1", "dataset": "actions"})
    parts = sections(cell_table(cells.store, "actions"))
    scores, curves = SequenceScores(cells.store), Curves(cells.store)
    claim = CLAIM.model_copy(update={"primary": test})
    (found,) = findings([claim], parts, scores, curves)
    assert found.verdict == verdict


def test_the_file_tests_the_claim_on_sith(cells: Cells) -> None:
    """SITH loses at 10 frames and gains with 1,000."""
    spread = np.array([1, 1.01, 0.99])
    for frames, sith in ((10, 0.035), (1000, 0.02)):
        dataset = f"moving_mnist/long(context_frames={frames})"
        cells.add("convlstm", dataset, 0.025 * spread, dataset)
        cells.add("sith", dataset, sith * spread, dataset)
    found = {it.claim.name: it.verdict for it in cells.findings(*all_claims())}
    assert found == {"sith-short": "upheld", "sith-context": "upheld"}


@pytest.mark.usefixtures("undrawn")
def test_the_report_shows_claims_behind_its_own_results(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.both()
    claim = CLAIM.model_copy(update={"defects": (DEFECT,), "robustness": (GAINS,)})
    monkeypatch.setattr(report, "all_claims", lambda: (claim,))
    page = report.build(cells.store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.index('id="section-1"') < page.index('id="claims"')
    assert markdown.index("| cell | MLflow run |") < markdown.index("Claims of earlier studies")
    for text in (page, markdown):
        assert "A beats B." in text
        assert "20 % lower, 95 % interval 18 to 22 %, 3 seeds, 60 sequences" in text
        assert "Frames were &lt;shuffled&gt;." in text
        assert "no cell of a on far; the suite own has it" in text
        assert "Upheld" in text
        assert "nothing yet under equal samples" in text
