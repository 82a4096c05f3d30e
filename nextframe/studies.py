"""Suites, and their cells run as `bench run` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.suite.suite import Suite


def suite(reference: str | Path | None = None, /, **settings: Any) -> Suite:
    """The suite of that name or TOML file, or one built from `settings` alone.

    Args:
        reference: the name of a built-in suite, or the path of a `.toml` file.
        settings: what a suite's file may say, tables such as `evaluation` as dictionaries. Beside a
            `reference` they override it; its `models` and `datasets` may be globs then, such as
            `conv*`, and a `budget` holds on every device. Without one, `name`, `models`, `datasets`
            and `budget` are needed.

    Raises:
        UserError: there is no such suite, model or data set, or a setting is unknown or wrong.
    """
    from bench.suite.suite import build_suite, load_suite

    settings = {name: _plain(value) for name, value in settings.items()}
    if reference is None:
        return build_suite(settings)
    found = load_suite(str(reference))
    whole = found.model_dump(mode="json")
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(whole.get(name), Mapping):
            settings[name] = {**whole[name], **value}
    for name, select in (("models", found.select_models), ("datasets", found.select_datasets)):
        if isinstance(settings.get(name), list | tuple):
            settings[name] = select(settings[name])
    try:
        return found.with_overrides(**settings)
    except UserError as error:  # a setting is no word of a command line here
        raise UserError(f"suite: {str(error).removeprefix('command line: ')}") from error


def _plain(value: Any) -> Any:
    """`value` in the types of a file: lists for arrays and ranges, Python's numbers for NumPy's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return value
    return [_plain(each) for each in value]


def run(
    suite: Suite,
    results: str | Path = "results",
    *,
    tracking_uri: str | None = None,
    force: str | None = None,
) -> pd.DataFrame:
    """The cells of `suite`, as `nextframe.cells` gives them, once all have been run.

    What is done is not run again. Each cell is a child process on this machine, or a job where the
    suite's table `launch` says so; progress is printed. A cell that fails costs itself alone: its
    `status` and `reason` say so. Call it in the main thread: Ctrl-C stops the cells, and the same
    call goes on from their last checkpoints.

    Args:
        suite: what to run.
        results: the folder for the store, checkpoints and the report.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).
        force: a glob; cells whose name matches are run even if they are done.

    Raises:
        UserError: the suite cannot run here.
        KeyboardInterrupt: it was interrupted.
    """
    from bench.console import SCREEN
    from bench.records import Status
    from bench.run.invocation import prepared
    from nextframe.records import cells

    invocation = prepared(suite, Path(results), tracking_uri, SCREEN, force=force)
    if invocation.run() == Status.INTERRUPTED.exit_code:
        raise KeyboardInterrupt
    found = cells(suite, results, tracking_uri=tracking_uri)
    asked = [cell.scored for cell in invocation.cells]
    return found[found["key"].isin(asked)].reset_index(drop=True)
