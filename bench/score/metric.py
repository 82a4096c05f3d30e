"""What a metric is: its definition, its computation, and to which clips it belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.records import Measure
from bench.score.outside import Outside

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from bench.score.frames import Frames
    from datasets.contract import Spec

Scope = Literal["frame", "sequence", "set", "ratio"]
Shown = Literal["table", "skill", "stored"]

PERFECT_PSNR = 100.0
"""Decibels of a perfect frame, and of any frame with an MSE of at most 1e-10."""
CHANGE = 1 / 32
"""By how much a pixel must differ from the last frame of the context to have changed.

Of bytes that is 8 levels and more: above the noise of a camera and of a codec."""
NEEDED_CONTEXT = 10
"""How many of the last frames of the context a metric may look at."""
LEAST = 1e-10
"""What a ratio is not taken to: a mean as small as this is nothing."""


class NotMeasured(Exception):
    """The metric cannot be computed here; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipFacts:
    """What is known of the clips that are scored, beside their pixels.

    Attributes:
        spec: their shape, and what they measure.
        count: how many there are.
        climatology: the mean training frame [C,H,W] in [0,1], where the data set has one.
        futures: how many the model draws of each; 0 where it draws none.
    """

    spec: Spec
    count: int
    climatology: Tensor | None = None
    futures: int = 0


def of_any(clips: ClipFacts) -> bool:
    """Whether a metric of every video belongs to `clips`: it does."""
    del clips
    return True


@dataclass(frozen=True, slots=True)
class Sums:
    """A figure of the whole test set, made of sums over its batches.

    So no memory grows with the set, and processes that test together add what each has.

    Attributes:
        of_batch: `Frames` -> a tensor, int64 or float64, of a shape that all batches share.
        figure: the total of all batches -> the figure.
    """

    of_batch: Callable[[Frames], Tensor]
    figure: Callable[[Tensor], float]

    def __call__(self, total: Tensor) -> float:
        """The figure of the total."""
        return self.figure(total)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of the means of two columns of the table by frame, over whatever these are taken.

    So it has a value for each frame, sequence and set, and what has nothing below, such as a clip
    in which nothing moves, weighs nothing where the ratio of each would be infinite.

    Attributes:
        above: the metric whose mean is divided.
        below: the one whose mean it is divided by.
        undefined: why there is no ratio where the mean below is 0.
        is_gain: whether the figure is 1 less the ratio.
    """

    above: str
    below: str
    undefined: str
    is_gain: bool = False

    def __call__(self, means: pd.DataFrame) -> pd.Series[float]:
        """The figure of each row of `means` by metric; NaN where it is undefined."""
        import numpy as np  # and pandas: most that ask for metrics need neither
        import pandas as pd

        above, below = (means[name].to_numpy(float) for name in (self.above, self.below))
        ratio = above / np.where(below > LEAST, below, np.nan)  # a tenth of the time of pandas'
        return pd.Series(1 - ratio if self.is_gain else ratio, means.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Measure):
    """A metric; its key, label, unit and better direction are those of a `Measure`.

    Attributes:
        function: by scope, of predictions: "frame": `Frames` -> values [B,T]; "sequence": `Frames`
            -> values [B]; "set": `Sums`; "ratio": a `Ratio`. Of answers: `ClipScores` -> a number.
            It may raise `NotMeasured`.
        outside: what it must equal.
        definition: in a sentence, for readers.
        decimals: digits printed after the point.
        scope: what has one value. The table by frame repeats that of a sequence; it has no column
            of a ratio, but those that this is made of.
        perfect: its value for a perfect prediction; None where no gain is so many per cent of
            the way to it, as with decibels.
        shown: "table": in tables, curves and MLflow; "skill": in the table of skills and MLflow;
            "stored": in the table by frame alone, where published figures are compared in it or
            another metric is made of it.
        belongs: to which clips; of others it is neither computed nor missed.
    """

    function: Callable[..., Any]
    outside: Outside
    definition: str
    decimals: int = 4
    scope: Scope = "frame"
    perfect: float | None = None
    shown: Shown = "table"
    belongs: Callable[[ClipFacts], bool] = of_any

    @property
    def name(self) -> str:
        """Its name in tables and in `not_measured`: its key without `test/`."""
        return self.key.removeprefix("test/")

    @property
    def is_recorded(self) -> bool:
        """Whether MLflow holds its mean as `test/<name>`, and where it has one its curve."""
        return self.shown != "stored"

    @property
    def has_curve(self) -> bool:
        """Whether it is drawn against the predicted frame."""
        return self.shown == "table" and self.is_of_frames

    @property
    def is_of_frames(self) -> bool:
        """Whether it has a value for each predicted frame."""
        return self.scope in ("frame", "ratio")

    @property
    def ratio(self) -> Ratio | None:
        """What it is a ratio of, if it is one."""
        return self.function if isinstance(self.function, Ratio) else None

    @property
    def sums(self) -> Sums | None:
        """What it sums up over the whole test set, if that is what it is made of."""
        return self.function if isinstance(self.function, Sums) else None

    @property
    def parts(self) -> tuple[str, ...]:
        """The columns of the table by frame that it is made of."""
        return (self.ratio.above, self.ratio.below) if self.ratio else (self.name,)

    def of_means(self, means: pd.DataFrame) -> pd.Series[float]:
        """Its figure for each row of `means`, of the columns of the table by frame."""
        return self.ratio(means) if self.ratio else means[self.name]
