"""Every model at its small size keeps the contract, and the contract catches those that do not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.check import classifier, first, model, predictor, training
from bench.check.predictor import CHECKS, COVARIATE_CHECKS, checks_of
from bench.check.promises import ContractBroken
from bench.errors import Invalid
from bench.suite import catalogue
from models.contract import DEFAULT_RECIPE, Classifier, Predictor, Size, TrainingBatch

MODELS = [*catalogue.predictors().values()]
# tests/bench/train/test_static_step.py replays static steps of each model, test_any_size.py runs
# each on the meta device.
TESTED = [name for name in CHECKS if name not in ("static step", "meta device")]
AS_IT_IS = ("shape", "colour", "rectangle")
"""Checks of the output's shape, on frames of the size that a user's models are checked on."""
SMALL = (1, 16, 32)


@pytest.fixture
def frames(check: str) -> Iterator[None]:
    """Of an eighth of the pixels, where a check asks for something else than their number."""
    with pytest.MonkeyPatch.context() as patch:
        if check not in AS_IT_IS:
            for module in (model, predictor, classifier):
                patch.setattr(module, "FRAME", SMALL)
            specs = {task: replace(s, frame_shape=SMALL) for task, s in training.SPECS.items()}
            patch.setattr(training, "SPECS", specs)
        yield


@pytest.mark.usefixtures("frames")
@pytest.mark.parametrize("check", TESTED)
@pytest.mark.parametrize("model_class", MODELS, ids=lambda model: model.name)
def test_model_keeps_the_contract(model_class: type[Predictor], check: str) -> None:
    CHECKS[check](model_class)


@pytest.mark.usefixtures("frames")
@pytest.mark.parametrize("check", COVARIATE_CHECKS)
@pytest.mark.parametrize(
    "model_class", [each for each in MODELS if each.takes_covariates], ids=lambda model: model.name
)
def test_model_that_takes_covariates_does(model_class: type[Predictor], check: str) -> None:
    checks_of(model_class)[check](model_class)


CLASSIFIERS = [c for c in catalogue.all_models().values() if issubclass(c, Classifier)]


@pytest.mark.usefixtures("frames")
@pytest.mark.parametrize("check", [name for name in classifier.CHECKS if name != "static step"])
@pytest.mark.parametrize("model_class", CLASSIFIERS, ids=lambda model: model.name)
def test_classifier_keeps_the_contract(model_class: type[Classifier], check: str) -> None:
    classifier.CHECKS[check](model_class)


class _Good(Predictor):
    """Copies the last frame, scaled: the smallest predictor with a parameter."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return self.scale * context[:, -1:].repeat(1, horizon, 1, 1, 1)


class _TooShort(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, max(1, horizon - 1))


class _GreyOnly(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, horizon)[:, :, :1]


class _RefusesSilently(_Good):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        if frame_shape[1] != frame_shape[2]:
            raise ValueError
        super().__init__(frame_shape)


class _TenFramesAtMost(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, min(horizon, 10))


class _OverflowsWhenRounded(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        rounded = torch.is_autocast_enabled("cpu")
        return super().forward(context, horizon) * (torch.inf if rounded else 1.0)


class _MixesTheBatch(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context - context.mean(0), horizon)


class _Remembers(_Good):
    last: Tensor | None = None

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        before, self.last = self.last, context.mean()
        return super().forward(context, horizon) + (0.0 if before is None else before)


class _RemembersWhileTheSizeStays(_Good):
    """A usual pattern: the state starts anew only where the batch has another size."""

    last = torch.zeros(0)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        if self.last.shape != context[:, 0].shape:
            self.last = torch.zeros_like(context[:, 0])
        self.last = (0.5 * self.last + context.mean(1)).detach()
        return super().forward(context, horizon) + self.last[:, None]


class _ListOfModules(_Good):
    """The weights in the list are trained by no optimiser, and in no state_dict."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.cells = [nn.Conv2d(frame_shape[0], frame_shape[0], 3, padding=1, bias=False)]

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(self.cells[0](context[:, -1])[:, None], horizon)


class _AsksForTheGradientOfAClip(_Good):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        clip = batch.clip.detach().clone().requires_grad_()
        return super().training_loss(batch) + 0.0 * clip.square().mean()


class _LosesByName(_Good):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        return {"mse": super().training_loss(batch)}  # type: ignore[return-value]


class _DeadParameter(_Good):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.dead = nn.Parameter(torch.ones(1))


class _ForeignNoise(_Good):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        return super().training_loss(batch) + random.random()


class _LooksAtValues(_Good):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, horizon) * (1.0 if context.sum().item() > 0 else 2.0)


class _LooksAtProgress(_Good):
    """Written to an older contract, in which `progress` was a number."""

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        return super().training_loss(batch) * max(0.5, 1 - batch.progress)


class _OverflowsInTraining(_Good):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        rounded = torch.is_autocast_enabled("cpu") and self.training
        return super().training_loss(batch) * (torch.inf if rounded else 1.0)


class _LosesInBfloat16(_Good):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        loss = super().training_loss(batch)
        return loss.bfloat16() if torch.is_autocast_enabled("cpu") and self.training else loss


class _HiddenWeight(_Good):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.hidden = torch.rand(())

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, horizon) * self.hidden


class _Counts(_Good):
    """Its loss depends on how often it was called, which a resumed run forgets."""

    calls = 0

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        self.calls += 1
        return super().training_loss(batch) * self.calls


class _Draws(_Good):
    """A stochastic predictor: copies the last frame, with noise."""

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, horizon) + torch.rand_like(context[:, :1])

    def sample(
        self, context: Tensor, horizon: int, samples: int, generator: torch.Generator
    ) -> Tensor:
        shape = (len(context), samples, horizon, *context.shape[2:])
        noise = torch.rand(shape, generator=generator)
        return super().forward(context, horizon)[:, None] + noise


class _Pushed(_Good):
    """The last frame, scaled, plus a number that the covariates of each frame make."""

    takes_covariates = True

    def __init__(self, frame_shape: tuple[int, int, int], *, covariates: int = 0) -> None:
        super().__init__(frame_shape)
        self.push = nn.Linear(covariates, 1) if covariates else None

    def forward(self, context: Tensor, horizon: int, covariates: Tensor | None = None) -> Tensor:
        frames = super().forward(context, horizon)
        if self.push is None or covariates is None:
            return frames
        return frames + self.push(covariates[:, -horizon:])[..., None, None]


class _IgnoresThem(_Pushed):
    def forward(self, context: Tensor, horizon: int, covariates: Tensor | None = None) -> Tensor:
        return super().forward(context, horizon)


class _LearnsWithoutThem(_Pushed):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        batch.covariates = None
        return super().training_loss(batch)


class _ReadsThem(_Pushed):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        assert batch.covariates is not None
        return super().training_loss(batch) * float(batch.covariates.amax())


class _CountsSteps(_Pushed):
    calls = 0

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        self.calls += 1
        return super().training_loss(batch) * self.calls


class _DrawsByItself(_Good):
    def sample(
        self, context: Tensor, horizon: int, samples: int, generator: torch.Generator
    ) -> Tensor:
        futures = super().sample(context, horizon, samples, generator)
        return futures + torch.rand_like(futures)


def test_a_weight_that_is_not_registered_is_named_before_it_trains() -> None:
    (trains,) = (run for name, run in first.checks_on(()).items() if name == "trains")
    with pytest.raises(ContractBroken, match=r"shape \[1, 1, 3, 3\] in self.cells is no parameter"):
        trains(_ListOfModules)
    with pytest.raises(ContractBroken, match="of type dict, not a scalar tensor"):
        trains(_LosesByName)
    trains(_AsksForTheGradientOfAClip)


def test_an_option_that_a_model_does_not_have_is_named_with_its_place() -> None:
    class Sized(_Good):
        def __init__(self, frame_shape: tuple[int, int, int], *, width: int = 4) -> None:
            super().__init__(frame_shape)

    def with_(name: str, value: dict[str, object]) -> type[_Good]:
        return type("Mine", (Sized,), {name: value})

    CHECKS["options"](with_("sizes", {"small": Size(DEFAULT_RECIPE, {"width": 4})}))
    with pytest.raises(ContractBroken, match="size 'large': unknown option 'widht': did you mean"):
        CHECKS["options"](with_("sizes", {"large": Size(DEFAULT_RECIPE, {"widht": 8})}))
    with pytest.raises(ContractBroken, match="tunable: unknown option 'depth'"):
        CHECKS["options"](with_("tunable", {"depth": (1, 2)}))
    with pytest.raises(ContractBroken, match="tunable: there is no value of 'width' to try"):
        CHECKS["options"](with_("tunable", {"width": ()}))


def test_predictions_that_are_not_finite_are_blamed_for_nothing_else() -> None:
    class NotFinite(_Good):
        def forward(self, context: Tensor, horizon: int) -> Tensor:
            return super().forward(context, horizon) * torch.nan

    said = set()
    for check in CHECKS.values():
        try:
            check(NotFinite)
        except ContractBroken as broken:
            said.add(str(broken))
    assert said == {
        "predictions are not finite",
        "an output is not finite",
        "a training loss is nan",
    }


def test_predictions_in_bytes_are_no_fault_of_the_check_itself() -> None:
    class Bytes(_Good):
        def forward(self, context: Tensor, horizon: int) -> Tensor:
            return 255 * super().forward(context, horizon)

    with pytest.raises(Invalid, match="once divided by 255"):
        first.checks_on(())["trains"](Bytes)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model_class", [_Good, _Draws])
def test_checks_pass_a_good_model(model_class: type[Predictor], check: str) -> None:
    CHECKS[check](model_class)


@pytest.mark.parametrize(
    ("check", "model_class"),
    [
        ("shape", _TooShort),
        ("colour", _GreyOnly),
        ("rectangle", _RefusesSilently),
        ("any length", _TenFramesAtMost),
        ("autocast", _OverflowsWhenRounded),
        ("batch", _MixesTheBatch),
        ("no state", _Remembers),
        ("no state", _RemembersWhileTheSizeStays),
        ("samples", _DrawsByItself),
        ("gradients", _DeadParameter),
        ("gradients", _ListOfModules),
        ("gradients", _LosesByName),
        ("randomness", _ForeignNoise),
        ("round trip", _HiddenWeight),
        ("rounded gradients", _OverflowsInTraining),
        ("rounded gradients", _LosesInBfloat16),
        ("static step", _ForeignNoise),
        ("static step", _Counts),
        ("static step", _LooksAtValues),
    ],
)
def test_checks_catch_a_broken_model(check: str, model_class: type[Predictor]) -> None:
    with pytest.raises(ContractBroken):
        CHECKS[check](model_class)


@pytest.mark.parametrize("check", COVARIATE_CHECKS)
def test_covariate_checks_pass_a_good_model(check: str) -> None:
    assert COVARIATE_CHECKS.keys().isdisjoint(checks_of(_Good))
    checks_of(_Pushed)[check](_Pushed)


@pytest.mark.parametrize(
    ("check", "model_class"),
    [
        ("covariates", _IgnoresThem),
        ("covariates", _LearnsWithoutThem),
        ("resume with covariates", _CountsSteps),
        ("static step with covariates", _ReadsThem),
    ],
)
def test_covariate_checks_catch_a_broken_model(check: str, model_class: type[Predictor]) -> None:
    with pytest.raises(ContractBroken):
        COVARIATE_CHECKS[check](model_class)


def test_meta_check_catches_a_model_that_reads_values() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        CHECKS["meta device"](_LooksAtValues)


def test_a_model_that_reads_progress_works_but_is_told_where_it_stops_being_static() -> None:
    CHECKS["gradients"](_LooksAtProgress)
    with pytest.raises(ContractBroken, match=r"run eagerly: test_contract\.py:\d+ "):
        CHECKS["static step"](_LooksAtProgress)


class _GoodClassifier(Classifier):
    """A linear map of the mean brightness of each frame's half."""

    def __init__(self, frame_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.head = nn.Linear(2, classes)

    def forward(self, clip: Tensor) -> Tensor:
        half = self.frame_shape[1] // 2
        top, bottom = clip[..., :half, :].mean((1, 2, 3, 4)), clip[..., half:, :].mean((1, 2, 3, 4))
        logits: Tensor = self.head(torch.stack((top, bottom), 1))
        return logits


class _FramesAsClips(_GoodClassifier):
    def forward(self, clip: Tensor) -> Tensor:
        return torch.cat([super(_FramesAsClips, self).forward(clip[:, [t]]) for t in range(2)])


class _ComparesClips(_GoodClassifier):
    def forward(self, clip: Tensor) -> Tensor:
        return super().forward(clip - clip.mean(0))


class _RemembersClips(_GoodClassifier):
    before = 0.0

    def forward(self, clip: Tensor) -> Tensor:
        logits = super().forward(clip) + self.before
        self.before = clip.sum().item()
        return logits


class _DeadHead(_GoodClassifier):
    def __init__(self, frame_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.dead = nn.Linear(2, classes)


class _HiddenHead(_GoodClassifier):
    def __init__(self, frame_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.hidden = torch.rand(())

    def forward(self, clip: Tensor) -> Tensor:
        return super().forward(clip) * self.hidden


@pytest.mark.parametrize("check", classifier.CHECKS)
def test_checks_pass_a_good_classifier(check: str) -> None:
    classifier.CHECKS[check](_GoodClassifier)


@pytest.mark.parametrize(
    ("check", "model_class"),
    [
        ("shape", _FramesAsClips),
        ("batch", _ComparesClips),
        ("no state", _RemembersClips),
        ("gradients", _DeadHead),
        ("round trip", _HiddenHead),
    ],
)
def test_checks_catch_a_broken_classifier(check: str, model_class: type[Classifier]) -> None:
    with pytest.raises(ContractBroken):
        classifier.CHECKS[check](model_class)


class _HiddenBuffer(_Good):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        self.seen += batch.clip.mean()
        return super().training_loss(batch) * self.seen


@pytest.mark.parametrize(("model_class", "culprit"), [(_Counts, "calls"), (_HiddenBuffer, "seen")])
def test_resume_check_names_what_is_lost(model_class: type[Predictor], culprit: str) -> None:
    with pytest.raises(ContractBroken, match=f"{culprit} is not in it"):
        CHECKS["resume"](model_class)


@pytest.mark.parametrize(
    "reference",
    [
        "convlstm(layers=0)",
        "phydnet(layers=-1)",
        "linear_motion(block=4)",
        "swinlstm_b(drop_path=1.0)",
        "swinlstm_d(drop_path=-0.1)",
        "wast(drop_path=1.0)",
    ],
)
def test_options_that_cannot_be_are_refused_when_a_model_is_built(reference: str) -> None:
    with pytest.raises(ValueError, match=r"not -?[0-9]"):
        catalogue.model(reference)((1, 64, 64), **catalogue.model_options(reference))
