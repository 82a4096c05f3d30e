"""The verb `tune`: runs the trials that are not done, and writes the best recipe of each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import records
from bench.console.rows import print_rows
from bench.errors import UserError
from bench.records import Status
from bench.run.display import Display, PlannedCell, Screen
from bench.run.invocation import Invocation
from bench.run.launchers.launcher import Launcher
from bench.run.recorded import Recorded
from bench.store.mlflow import Store
from bench.suite import tuned
from bench.suite.suite import Suite
from bench.suite.tuned import Tuned
from bench.tune.choice import chosen, newest
from bench.tune.trials import Subject, subjects, suite_of_trials

ENDED = (Status.DIVERGED, Status.INVALID)
"""How a trial may end so that running it once more would only end in the same way."""


def tuning(
    suite: Suite,
    trials: int | None,
    out: Path | None,
    results: Path,
    tracking_uri: str | None,
    screen: Screen,
) -> TuningInvocation:
    """A run of the trials of `suite`: as many as it says, or `trials`.

    Args:
        suite: what is tuned; the space is its `tuning`.
        trials: how many, where that is not left to the suite.
        out: the file for the recipes, where that is not the suite's.
        results: the folder for the store and checkpoints.
        tracking_uri: MLflow's store where it is not the one in that folder.
        screen: how to speak to the user.

    Raises:
        UserError: as `subjects`, or the file for the recipes is a folder, is in none, or holds
            something else.
    """
    if trials is not None:
        suite = suite.with_overrides(
            tuning=suite.tuning.model_dump(mode="json") | {"trials": trials}
        )
    file = out or Path(suite.tuned_recipes)
    if file.is_dir():
        raise UserError(f"{file} is a folder: name a file for the recipes")
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}: make it, for the recipes")
    tuned.read(file)  # before anything is run
    of_trials = suite_of_trials(suite)
    if suite.tuning.flops_per_sequence is not None:
        screen.announce("counting the FLOPs of every size of each model (once, a second each)")
    found = subjects(of_trials)
    cells = [cell for subject in found for seeds in subject.trials for cell in seeds]
    return TuningInvocation(
        of_trials, cells, results, tracking_uri, screen, subjects=found, file=file
    )


@dataclass
class TuningInvocation(Invocation):
    """A run of trials, which ends in a file of recipes instead of a report.

    Attributes:
        subjects: what is tuned.
        file: where the recipes go.
    """

    subjects: Sequence[Subject] = ()
    file: Path = Path()
    _chosen: list[Tuned] = field(default_factory=list)

    def _plan(self, recorded: Recorded) -> list[PlannedCell]:
        """As for any suite, but a trial that diverged has ended."""
        ends = {
            run.tags.get(records.CELL)
            for run in recorded.ours
            if run.tags.get(records.STATUS) in ENDED
        }
        return [
            replace(p, state="done", estimated_seconds=None) if cell.scored in ends else p
            for cell, p in zip(self.cells, super()._plan(recorded), strict=True)
        ]

    def _status(self, launcher: Launcher) -> Status:
        """Done where every model has its recipe, whatever became of single trials."""
        if launcher.stopped:
            return Status.INTERRUPTED
        whole = len(self._chosen) == len(self.subjects) and not self._lost
        return Status.DONE if whole else Status.FAILED

    def _report(self, store: Store, display: Display) -> None:
        """Write the recipes of the models whose trials have all ended, and show them."""
        display.all_ended()
        runs = newest([*store.cells_and_borrowed(self.suite.name)])
        found = [(subject.cell, chosen(subject, runs)) for subject in self.subjects]
        self._chosen = [best for _, best in found if best is not None]
        if self._chosen:
            with self._surviving(f"the recipes are not written to {self.file}"):
                tuned.write(self.file, self._chosen)
                self.screen.announce(f"recipes: {self.file}")
            print_rows([_row(best) for best in self._chosen], COLUMNS)
        for cell, best in found:
            if best is None:
                self.screen.announce(
                    f"{cell.name.rpartition('/')[0]} has no recipe yet: no trial finished, or some "
                    "are still to be run, by the same line"
                )
        for best in self._chosen:
            if note := _edge(best):
                self.screen.announce(note)


COLUMNS = ["model", "dataset", "learning_rate", "batch", "validation", "trials", "finished"]


def _row(best: Tuned) -> dict[str, object]:
    size = "" if best.size == "only" else f"-{best.size}"
    return {
        "model": f"{best.model}{size}",
        "dataset": best.dataset,
        "learning_rate": best.recipe.learning_rate,
        "batch": best.recipe.batch_size,
        "validation": best.validation,
        "trials": len(best.trials),
        "finished": sum(trial.validation is not None for trial in best.trials),
    }


def _edge(best: Tuned) -> str:
    """What to know of a best rate that is the lowest or highest that was tried; else ""."""
    rates = sorted({trial.learning_rate for trial in best.trials})
    rate = best.recipe.learning_rate
    if len(rates) < 3 or rate not in (rates[0], rates[-1]):
        return ""
    which = "lowest" if rate == rates[0] else "highest"
    return f"{best.model}: {rate:g} is the {which} of all rates tried, a better one may lie beyond"
