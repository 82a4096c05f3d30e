"""Which of two models learns sooner: what each has spent when its validation reaches a target."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.literature.claims import Sooner
from bench.records import VALIDATION
from bench.report.claims.cells import Cells
from bench.report.claims.finding import Outcome
from bench.report.claims.measured import Measured, change_said
from bench.report.statistics.jackknife import RELATIVE, Contrast, Variance

SPENT = {"seconds": "train_seconds", "samples": "samples"}


def sooner(cells: Cells, test: Sooner, curves: pd.DataFrame) -> Measured | Outcome:
    """How much less of the unit the first needs, over the seeds of both.

    The target is the best validation that the least of all these cells reached, so that none has to
    be guessed. Between two validations the curve is taken for straight. What a seed had spent that
    was there at its first validation is not known, only that it is no more than at that: so an
    answer that less would not have changed counts, and no other.

    Args:
        cells: of the setting.
        test: of the claim.
        curves: of the data set, as `bench.report.curves.Curves` gives them.
    """
    section = cells.sections[test.dataset]
    measure = VALIDATION[section.task]
    labels = [cells.label(model, test.dataset) for model in (test.first, test.second)]
    shown = curves[curves["label"].isin(labels) & (curves["metric"] == measure.key)]
    found = {
        label: [curve for _, curve in shown[shown["label"] == label].groupby("run_id", sort=False)]
        for label in labels
    }
    if not all(found.values()):
        return Outcome("not tested", f"no learning curves of both on {test.dataset}")
    target = float(max(curve["value"].min() for curves in found.values() for curve in curves))
    spent = [
        np.array([_spent(curve, SPENT[test.unit], target) for curve in found[label]])
        for label in labels
    ]
    if np.isnan(np.concatenate(spent)).any():
        return Outcome("not tested", f"the {test.unit} of both on {test.dataset} are not recorded")
    means = [_contrast(amounts) for amounts in spent]
    contrast = means[0] - means[1]
    seeds = {label: len(found[label]) for label in labels}
    said = f"{test.dataset}: to a {measure.label} of {target:.3g} {labels[0]} needs"
    amounts = [f"{np.exp(mean.centre):,.0f}" for mean in means]
    said = f"{said} {amounts[0]} {test.unit}, {labels[1]} {amounts[1]}"
    said = f"{said}: {change_said(contrast, seeds, None)}"
    measured = Measured(contrast, True, test.margin, said, cells.left_out(test))
    early = [any(curve["value"].iloc[0] <= target for curve in found[label]) for label in labels]
    for is_early, label, told in zip(early, labels, ("against it", "as claimed"), strict=True):
        if is_early and measured.told() == told:
            why = f"but {label} was there at its first validation or before"
            return Outcome("cannot be told", f"{said}; {why}{measured.left_out}")
    return measured


def _spent(curve: pd.DataFrame, unit: str, target: float) -> float:
    """What `curve` has spent where its value first comes down to `target`."""
    values, spent = curve["value"].to_numpy(), curve[unit].to_numpy()
    place = int(np.argmax(values <= target))
    if place == 0:
        return float(spent[0])
    fell = (values[place - 1] - target) / (values[place - 1] - values[place])
    return float(spent[place - 1] + fell * (spent[place] - spent[place - 1]))


def _contrast(spent: npt.NDArray[np.float64]) -> Contrast:
    """The mean over seeds of its logarithm, of which seeds alone make it err."""
    logarithms = RELATIVE.of(spent)
    count = len(spent)
    variance = float(logarithms.var(ddof=1) / count) if count > 1 else float("nan")
    return Contrast(RELATIVE, float(logarithms.mean()), {}, {}, (Variance(variance, count - 1.0),))
