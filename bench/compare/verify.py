"""The verb `verify`: trains and scores a finished cell anew, and says whether that is the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench import PROGRAM, records
from bench.compare.likeness import TOLERANCE, Likeness, curves, likeness
from bench.compare.recorded import Recorded
from bench.compare.repeat import Stopped, repeat
from bench.compare.rows import Row, differing
from bench.console.tables import Output
from bench.errors import UserError
from bench.records import Status
from bench.store.named import finished
from bench.suite import cell as cells
from bench.suite import fingerprint

if TYPE_CHECKING:
    from bench.run.display import Screen
    from bench.store.mlflow import Store
    from bench.suite.cell import Cell

Said = Iterator[tuple[str, str]]
MOST_ROWS = 12  # of the environment's differences
STYLES = {"bit-identical": "bold green", "within tolerance": "bold yellow"}


def verify(store: Store, asked: str, screen: Screen, steps: int | None = None) -> int:
    """Repeat a run and print how alike the two are; the exit code, 1 where they differ.

    Args:
        store: where the run is recorded; it is only read.
        asked: the run's id, or the name of its cell.
        screen: how to speak to the user.
        steps: only so many, whose training loss is compared.

    Raises:
        UserError: there is no such finished run, or it cannot be repeated here.
    """
    then = Recorded(store, finished(store, asked))
    cell = _settled(then)
    trained_steps = int(then.run.metrics.get("train/steps", 0))
    if steps is not None:
        _check_steps(then, cell, steps, trained_steps)
    again = cell
    if cell.budget.kind == "seconds" and trained_steps:
        again = cell.for_steps(trained_steps)
    command = f"{PROGRAM} verify {then.run.run_id}"
    until = 1.0 if steps is None else steps / trained_steps
    with TemporaryDirectory(prefix="nextframe-verify-") as folder:
        try:
            end, now = repeat(again, Path(folder), screen, command, until)
        except Stopped:
            return Status.INTERRUPTED.exit_code
        if now is None or end.status is not Status.DONE:
            title, lines = "differs", [("repetition", f"{end.status}: {end.error}")]
        elif steps is None:
            found = likeness(then, now)
            title, lines = found.verdict, [*_parts(found)]
        else:
            part = curves(then, now, steps)
            title = "bit-identical" if part.extent and not part.first else "differs"
            title += f" over the first {steps:,} of {trained_steps:,} steps"
            lines = [(part.name, part.said)]
        lines += [*_code(then, cell), *_environment(then, now)]
        lines += [*_budget(cell, again)]
    _print(then.run.name, title, lines)
    return 1 if title.startswith("differs") else 0


def _settled(then: Recorded) -> Cell:
    """The cell of the run, whose data are here.

    Raises:
        UserError: it cannot be read, or its data are missing or others.
    """
    if then.settled is None:
        raise UserError(
            f"the run {then.run.run_id} ({then.run.name}) was recorded by a version that did not"
            f" keep {records.SETTLED}: run the cell again"
        )
    cell = cells.read(then.settled)
    cell.check_data()
    return cell


def _check_steps(then: Recorded, cell: Cell, steps: int, trained_steps: int) -> None:
    """Raise UserError where the loss of the first `steps` cannot be compared."""
    if cell.budget.kind == "seconds":
        raise UserError(
            "--steps needs a budget in steps, samples or flops: of one in seconds the loss was"
            " recorded at steps that a repetition does not hit; leave it out"
        )
    recorded = [step for step, _ in then.curve(records.TRAIN_LOSS)]
    if not recorded:
        raise UserError(f"{then.run.name} has no curve of training loss: leave --steps out")
    if not recorded[0] <= steps < trained_steps:
        raise UserError(
            f"--steps is from {recorded[0]}, the first step with a loss recorded, to"
            f" {trained_steps - 1}, not {steps}"
        )


def _parts(found: Likeness) -> Said:
    yield from ((part.name, part.said) for part in found.parts)
    if found.verdict != "bit-identical":
        yield "tolerance", f"test figures may be {TOLERANCE:.0%} apart, relative to the larger"


def _code(then: Recorded, cell: Cell) -> Said:
    """Whether what was trained is what would be trained now, and if not, why."""
    tags = then.run.tags
    if tags.get(records.TRAINED) == cell.trained:
        if tags.get(records.CELL) == cell.scored:
            yield "code", "as recorded, and so are data and arithmetic"
        else:
            yield "code", "what trains is as recorded; metrics, test clips or clusters are others"
        return
    now = {
        "code": cell.code_digest[:12],
        "commit": fingerprint.commit()[:12],
        "torch": fingerprint.versions()["bench.torch"],
    }
    recorded = {
        "code": tags.get(records.CODE_DIGEST, "")[:12],
        "commit": tags.get(records.COMMIT, "")[:12],
        "torch": tags.get("bench.torch", ""),
    }
    rows = differing(recorded, now)
    why = "; ".join(map(str, rows)) or "training clips, device or digests are others"
    yield "code", f"not what was recorded: {why}"


def _environment(then: Recorded, now: Recorded | None) -> Said:
    """What the two ran in that differs."""
    if then.environment is None:
        yield "environment", "was not recorded then"
    elif now is not None and now.environment is not None:
        rows = differing(then.environment, now.environment)
        yield "environment", _listed(rows) or "as recorded"


def _listed(rows: list[Row]) -> str:
    shown = "\n".join(map(str, rows[:MOST_ROWS]))
    more = len(rows) - MOST_ROWS
    return shown + (f"\nand {more} more: `bench diff` lists them" if more > 0 else "")


def _budget(cell: Cell, again: Cell) -> Said:
    if again is not cell:
        yield (
            "budget",
            f"{cell.budget}, repeated as the {again.budget} that were taken: the progress that"
            " schedules follow was measured in time then, so that weights may differ a little",
        )


def _print(name: str, title: str, lines: list[tuple[str, str]]) -> None:
    """Print the verdict and its reasons."""
    console = Output(file=sys.stdout, highlight=False)
    style = STYLES.get(title.partition(" over")[0], "bold red")
    console.print(Text.assemble("\n", f"{name}: ", (title, style), "\n"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, said in lines:
        table.add_row(label, Text(said))
    console.print(table)
