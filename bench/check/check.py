"""The verb `check`: runs the checks of a model, a data set or the metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.check import classifier, dataset, metrics, predictor
from bench.errors import UserError, one_line, unknown
from bench.suite import catalogue
from bench.suite.reference import Reference, is_file_reference
from models.contract import Model, Predictor


def check(reference: str) -> int:
    """Exit code 0 where the model or data set passes every check, else 1; prints a line a check.

    `metrics` checks the metrics, which must equal the outside implementations that they name.

    Raises:
        UserError: there is no model or data set of that name, or its data are missing.
    """
    failed = [name for name, error in _results(reference) if not _is_ok(name, error)]
    sys.stdout.write(f"{reference}: {'broken' if failed else 'kept'}\n")
    return 1 if failed else 0


def _is_ok(name: str, error: str | None) -> bool:
    sys.stdout.write(f"ok    {name}\n" if error is None else f"FAIL  {name}: {error}\n")
    sys.stdout.flush()
    return error is None


def _results(reference: str) -> Any:
    """The name of each check, and its error or None."""
    checks, subject = _subject(reference)
    for name, run in checks.items():
        try:
            run(subject)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            yield name, f"{kind}{one_line(error)}"
        else:
            yield name, None


def _subject(reference: str) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    """The checks that apply to `reference`, and what they are given."""
    if reference == "metrics":
        return metrics.CHECKS, metrics.this_device()
    written = Reference.parse(reference)
    if is_file_reference(reference):
        try:
            return _model(catalogue.model(reference), written)
        except UserError as no_model:
            try:
                catalogue.dataset(reference)
            except UserError:
                raise no_model from None
        return _dataset(reference)
    if written.name in catalogue.all_models():
        return _model(catalogue.model(reference), written)
    if written.name in catalogue.all_datasets():
        return _dataset(reference)
    known = [*catalogue.all_models(), *catalogue.all_datasets()]
    raise unknown("model or data set", reference, known)


def _model(cls: type[Model], written: Reference) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    if written.options:
        raise UserError(f"a model is checked as its sizes are: write {written.name} alone")
    return predictor.CHECKS if issubclass(cls, Predictor) else classifier.CHECKS, cls


def _dataset(reference: str) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    opened = catalogue.require_dataset(reference)
    return dataset.checks_of(opened), opened
