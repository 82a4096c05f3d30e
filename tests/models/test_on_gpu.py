"""Every model on CUDA: in float32 as on the CPU, in bfloat16 near it."""

from __future__ import annotations

import copy

import pytest
import torch

from bench.check import classifier, predictor
from bench.check.promises import FRAME, video
from bench.suite import catalogue
from bench.train import hardware
from models.contract import Classifier, Predictor, TrainingBatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
PREDICTORS = [*catalogue.predictors().values()]
CLASSIFIERS = [c for c in catalogue.all_models().values() if issubclass(c, Classifier)]


@pytest.fixture(autouse=True)
def _float32_means_float32() -> None:
    hardware.set_arithmetic()


@pytest.mark.parametrize("model_class", PREDICTORS, ids=lambda model: model.name)
def test_predictor_is_the_same_on_cuda(model_class: type[Predictor]) -> None:
    model, context = predictor.build(model_class, FRAME), video(2, 5, FRAME)
    on_cuda = copy.deepcopy(model).cuda()
    with torch.no_grad():
        expected = model(context, 3)
        torch.testing.assert_close(on_cuda(context.cuda(), 3).cpu(), expected, rtol=0, atol=1e-4)
        with torch.autocast("cuda", torch.bfloat16):
            rounded = on_cuda(context.cuda(), 3)
    torch.testing.assert_close(rounded.float().cpu(), expected, rtol=0, atol=0.1)


@pytest.mark.parametrize("model_class", PREDICTORS, ids=lambda model: model.name)
def test_predictor_has_the_same_gradients_on_cuda(model_class: type[Predictor]) -> None:
    model, clip = predictor.build(model_class, FRAME), video(2, 6, FRAME)
    on_cuda = copy.deepcopy(model).cuda()
    for name in model.losses if list(model.parameters()) else ():
        losses = (
            getattr(model, name)(TrainingBatch(clip, 4, 1.0)),
            getattr(on_cuda, name)(TrainingBatch(clip.cuda(), 4, 1.0)),
        )
        torch.testing.assert_close(losses[1].cpu(), losses[0], rtol=1e-4, atol=0)
        for loss in losses:
            loss.backward()
    for ours, theirs in zip(model.parameters(), on_cuda.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        largest = ours.grad.abs().max().item()
        torch.testing.assert_close(theirs.grad.cpu(), ours.grad, rtol=0, atol=1e-3 * largest + 1e-7)


@pytest.mark.parametrize("model_class", CLASSIFIERS, ids=lambda model: model.name)
def test_classifier_is_the_same_on_cuda(model_class: type[Classifier]) -> None:
    model, clip = classifier.build(model_class, FRAME), video(2, 5, FRAME)
    with torch.no_grad():
        expected = model(clip)
        on_cuda = copy.deepcopy(model).cuda()(clip.cuda()).cpu()
    torch.testing.assert_close(on_cuda, expected, rtol=0, atol=1e-4)
