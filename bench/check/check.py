"""The verb `check`: runs the checks of a model, a data set or the metrics."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench import as_started
from bench.check import classifier, dataset, first, predictor
from bench.errors import UserError, line_in, one_line
from bench.score.metric import NotMeasured
from bench.suite import catalogue
from bench.suite.reference import Reference, is_file_reference, unknown_name
from datasets.contract import DataMissing
from models.contract import Predictor

QUICK = (
    *("the spec is a spec", "train clips have covariates"),
    *("train clips have the shape of the spec", "held out clips have the shape of the spec"),
)
"""Checks of a data set that find most mistakes, in a second."""


def check(reference: str, *, quick: bool = False, on: Sequence[str] = ()) -> int:
    """Exit code 0 where the model or data set passes every check, else 1; prints a line a check.

    A `quick` one of a model asks only whether it can be built and trained `on` one of these data
    sets; of a data set it makes those in `QUICK`, and none where the data are missing.

    `metrics` checks the metrics, which must equal the outside implementations that they name; of
    those that cannot be measured here, as for lack of weights, it says why.

    Raises:
        UserError: there is no model or data set of that name, or its data are missing.
    """
    try:
        checks, subject = _subject(reference)
    except DataMissing as missing:
        if not quick:
            raise UserError(as_started(str(missing))) from missing
        return 0
    failed = measured = 0
    said: dict[str, str] = {}
    is_model = isinstance(subject, type)
    if on and not (quick and is_model):
        raise UserError("--on names the data sets on which --quick checks a model: add --quick")
    if quick:
        checks = (
            first.checks_on(on)
            if is_model
            else {name: checks[name] for name in QUICK if name in checks}
        )
    for name, run in checks.items():
        try:
            error = _error(run, subject)
        except NotMeasured as reason:
            sys.stdout.write(f"--    {name}: not measured: {one_line(reason)}\n")
            continue
        measured += 1
        same = said.setdefault(error, name) if error else name
        told = error if same == name else f"the same as {same}"
        sys.stdout.write(f"FAIL  {name}: {told}\n" if error else f"ok    {name}\n")
        sys.stdout.flush()
        failed += bool(error)
    how = f"failed {failed} of {measured} checks" if failed else f"passed {measured} checks"
    sys.stdout.write(f"{reference}: {how}\n")
    return 1 if failed else 0


def _error(run: Callable[[Any], None], subject: Any) -> str:
    """What `run` finds wrong, and where in the file of `subject`; "" for nothing.

    Raises:
        NotMeasured: where it cannot be told here.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints
            run(subject)
    except NotMeasured:
        raise
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        cls = subject if isinstance(subject, type) else type(subject)
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return f"{line_in(error, file)}{kind}{one_line(error)}"
    return ""


def _subject(reference: str) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    """The checks that apply to `reference`, and what they are given."""
    if reference == "metrics":
        from bench.check import metrics  # and with it the outside implementations

        return metrics.CHECKS, metrics.this_device()
    if is_file_reference(reference):
        try:
            return _model(reference)
        except UserError as no_model:
            try:
                catalogue.dataset(reference)
            except UserError:
                raise no_model from None
        return _dataset(reference)
    name = Reference.parse(reference).name
    if name in catalogue.all_models():
        return _model(reference)
    if name in catalogue.all_datasets():
        return _dataset(reference)
    known = [*catalogue.all_models(), *catalogue.all_datasets()]
    raise unknown_name("model or data set", reference, known)


def _model(reference: str) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    """The checks of a model, and its class, whose sizes have the options asked for."""
    cls = catalogue.model(reference)
    if options := catalogue.model_options(reference):
        sizes = {
            name: replace(size, options={**size.options, **options})
            for name, size in cls.sizes.items()
        }
        cls = type(cls.__name__, (cls,), {"__module__": cls.__module__, "sizes": sizes})
    return predictor.checks_of(cls) if issubclass(cls, Predictor) else classifier.CHECKS, cls


def _dataset(reference: str) -> tuple[Mapping[str, Callable[[Any], None]], Any]:
    opened = catalogue.open_dataset(reference)
    return dataset.checks_of(opened), opened
