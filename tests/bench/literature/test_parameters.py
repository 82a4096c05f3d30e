"""How many parameters models have, held against those published."""

from __future__ import annotations

import pytest
import torch

from bench.literature import parameters
from bench.literature.parameters import PublishedCount
from bench.suite import catalogue
from bench.suite.reference import Reference

COUNTS = parameters.all_counts()
CLASSES = 174
"""Of Something-Something V2, as the published classifiers have them."""


@pytest.mark.parametrize("count", COUNTS, ids=lambda count: f"{count.model}-{count.frames}")
def test_a_model_has_the_published_parameters_but_for_those_explained(
    count: PublishedCount,
) -> None:
    asked = Reference.parse(count.model)
    model = catalogue.model(asked.name)
    shape = [int(side) for side in count.frames.split("x")]
    classes = [CLASSES] if model.task == "recognition" else []
    with torch.device("meta"):
        built = model(shape, *classes, **{**model.sizes["published"].options, **asked.options})
    ours = sum(parameter.numel() for parameter in built.parameters())
    assert ours - count.parameters == count.differs
    assert bool(count.differs) == bool(count.why)
    assert count.source


def test_all_published_sizes_have_a_count_but_those_of_our_own_making() -> None:
    published = {name for name, it in catalogue.all_models().items() if "published" in it.sizes}
    # The networks of both memories were never published, nor was MaxViT as a predictor.
    assert published - {count.model for count in COUNTS} == {"sith", "deepsith", "maxvit", "wast"}
    wast = parameters.of("wast")
    assert wast is not None
    assert wast.model == "wast(window_frames=4)"  # of a data set with fewer frames


def test_a_difference_is_told_in_one_line() -> None:
    convlstm, predrnn = parameters.of("convlstm"), parameters.of("predrnn")
    assert convlstm is not None
    assert predrnn is not None
    assert "15,083,520 parameters for frames of 1x64x64, 3,407,872 fewer here" in convlstm.sentence
    assert "take no part" in convlstm.sentence
    assert "23,838,720" in predrnn.sentence
    assert "as many here" in predrnn.sentence
    assert parameters.of("copy_last") is None
