"""The models and data sets that there are, and one of them, built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from datasets.contract import Dataset
    from models.contract import FrameShape, Model


def list_models() -> pd.DataFrame:
    """A row for each model and size: name, size, task, parameters, GFLOPs a sequence, its paper.

    Both costs are those for Moving MNIST, 10 frames to 10, or for classifiers of such clips.
    """
    import pandas as pd

    from bench.console import announce
    from bench.listing import models

    return pd.DataFrame(models.rows(announce), columns=models.COLUMNS)


def list_datasets() -> pd.DataFrame:
    """A row for each data set: name, task, and what it is; none is opened."""
    import pandas as pd

    from bench.listing import datasets

    return pd.DataFrame(datasets.rows(), columns=datasets.COLUMNS)


def build_model(
    reference: str,
    frame_shape: FrameShape,
    *,
    size: str = "published",
    classes: int = 0,
    covariates: int = 0,
    context_frames: int = 10,
    horizon: int = 10,
) -> Model:
    """An untrained model, an `nn.Module` in training mode; PyTorch's seed decides its weights.

    Args:
        reference: its name, with options, or `path/to/file.py:Class`.
        frame_shape: (C,H,W) of its frames; where it takes only multiples, it pads and crops them.
        size: such as `published` or `small`; a model with one size has that.
        classes: how many a classifier tells apart.
        covariates: how many numbers of each frame a model that takes them is given.
        context_frames: how many frames a model of a fixed window reads in a pass.
        horizon: how many it predicts, where that is up to it.

    Raises:
        UserError: there is no such model, size or option, it cannot be built so, or `covariates` is
            no number.
    """
    from bench.errors import UserError, one_line
    from bench.suite import catalogue
    from bench.train.task import task_for
    from datasets.contract import Covariate, Spec

    cls = catalogue.model(reference)
    if (cls.task == "recognition") != (classes != 0):
        raise UserError(
            f"{cls.name} is for {cls.task}: "
            + ("say how many classes" if cls.task == "recognition" else "leave out the classes")
        )
    if type(covariates) is not int or covariates < 0:
        raise UserError(f"covariates are a whole number from 0 on, not {repr(covariates)[:40]}")
    if covariates and not getattr(cls, "takes_covariates", False):
        raise UserError(f"{cls.name} takes no covariates: leave them out")
    named = tuple(map(str, range(classes)))
    beside = tuple(Covariate(str(number)) for number in range(covariates))
    lengths = (1, 0) if classes else (context_frames, horizon)
    options = {**catalogue.size_of(cls, size)[1].options, **catalogue.model_options(reference)}
    try:
        spec = Spec(frame_shape, *lengths, named, covariates=beside)
        built: Model = task_for(cls, spec).build(cls, options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{reference} cannot be built for frames of {frame_shape}: {one_line(error)}"
        ) from error
    return built


def open_dataset(reference: str) -> Dataset:
    """The data set, opened: its `spec`, `train_clips` and `held_out` are those of the contract.

    Args:
        reference: its name, with options, or `path/to/file.py:Class`.

    Raises:
        UserError: there is no such data set or option, or its data are not on this machine.
    """
    from bench.suite import catalogue

    return catalogue.require_dataset(reference)
