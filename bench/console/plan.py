"""The plan of a run as a matrix: models down, data sets across, the state of each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bench.console.tables import empty_table, in_parts
from bench.console.words import one_line, result
from bench.run.display import PENDING, Basis, PlannedCell, RunSettings, State
from bench.units import duration

STYLES: dict[State, str] = {
    "done": "green",
    "run": "",
    "resume": "yellow",
    "rescore": "cyan",
    "blocked": "red",
}
BASES: dict[Basis, str] = {
    "earlier": "from earlier cells",
    "speed": "roughly, from the speed of this machine now, were it otherwise idle",
}


def plan(cells: Sequence[PlannedCell], settings: RunSettings, console: Console) -> Group:
    """The matrix, in as many parts as `console` is wide, and below it the totals."""
    datasets = list(dict.fromkeys(cell.dataset for cell in cells))
    matrices = in_parts(datasets, lambda some: _matrix(cells, some), console)
    remarks = [Text(line) for line in (_basis(cells), *settings.remarks) if line]
    return Group(*matrices, *_blocked(cells), _totals(cells, settings), *remarks, Text())


def _matrix(cells: Sequence[PlannedCell], datasets: Sequence[str]) -> Table:
    table = empty_table()
    for heading in ("model", "size", *datasets):
        table.add_column(Text(one_line(heading)), overflow="fold")
    for model, size in dict.fromkeys((cell.model, cell.size) for cell in cells):
        row = [cell for cell in cells if (cell.model, cell.size) == (model, size)]
        entries = [_entry([cell for cell in row if cell.dataset == name]) for name in datasets]
        table.add_row(Text(one_line(model)), Text(one_line(size)), *entries)
    return table


def _entry(seeds: Sequence[PlannedCell]) -> Text:
    """The states of one model's cells on one data set: `run`, or `done 0 1, resume 2` by seed."""
    words = []
    for state, group in groupby(sorted(seeds, key=lambda cell: cell.state), lambda c: c.state):
        alike = list(group)
        word = (
            state
            if len(seeds) == 1
            else " ".join((state, *dict.fromkeys(str(c.seed) for c in alike)))
        )
        if len(seeds) == 1 and alike[0].result is not None:
            word = f"{state}, {result(alike[0].task, alike[0].result)}"
        training = [c.training_seconds for c in alike if c.training_seconds is not None]
        if training:
            each = " each" if len(alike) > 1 else ""
            word += f", trains about {duration(sum(training) / len(training))}{each}"
        words.append(Text(word, STYLES[state]))
    return Text(", ").join(words)


def _blocked(cells: Sequence[PlannedCell]) -> Iterator[Text]:
    for cell in cells:
        if cell.state == "blocked":
            name = one_line(cell.name)
            yield Text.assemble((f"{name} is blocked: ", "red"), one_line(cell.reason))


def _totals(cells: Sequence[PlannedCell], settings: RunSettings) -> Text:
    states = [cell.state for cell in cells]
    counts = [f"{states.count(state)} {state}" for state in STYLES if state in states]
    ahead = [cell.estimated_seconds for cell in cells if cell.state in PENDING]
    known = [seconds for seconds in ahead if seconds is not None]
    total = f"about {duration(sum(known) / settings.workers)}" if known else "time unknown"
    if not ahead:
        total = "nothing to run"
    elif known and len(known) < len(ahead):
        unknown = len(ahead) - len(known)
        total += f" and {unknown} cell{'s' * (unknown > 1)} of unknown length"
    training = sum(cell.training_seconds or 0.0 for cell in cells if cell.state in PENDING)
    if training:
        total += f", {duration(training / settings.workers)} of it training"
    how = f"on {settings.device}, precision {settings.precision}, size {settings.size}"
    number = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    what = f"{number}: {', '.join(counts)}; {total}"
    return Text(f"{what}; {how}, budget {settings.budget}")


def _basis(cells: Sequence[PlannedCell]) -> str:
    """What the training times are estimated from; "" where the budget says them."""
    bases = Counter(cell.basis for cell in cells if cell.training_seconds is not None)
    said = [
        f"{words} ({bases[basis]} cell{'s' if bases[basis] > 1 else ''})"
        for basis, words in BASES.items()
        if basis in bases
    ]
    return f"Training time is estimated {' and '.join(said)}." if said else ""
