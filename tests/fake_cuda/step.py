"""One training step of a model on fake CUDA: what it launches, and what it does that it must not.

Only for a process in which `guard.load()` came before the import of torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.train.step import OPTIMIZERS
from models.contract import Classifier, Model, Predictor, Recipe, TrainingBatch
from models.convlstm import ConvLSTMCell
from models.e3d_lstm import EideticLSTMCell
from models.encoder_forecaster import ConvGRUCell
from models.encoder_forecaster import ConvLSTMCell as NormalisedConvLSTMCell
from models.lmc_memory import ConvLSTMCell as LMCConvLSTMCell
from models.mau import MotionAwareUnit
from models.mim import MIMBlock
from models.mmvp import MMVP
from models.phydnet import PhyCell
from models.prednet import Representation
from models.predrnn import STLSTMCell
from models.predrnn_pp import CausalLSTMCell, GradientHighway
from models.sith import LogMemory
from models.swinlstm import SwinLSTMCell
from models.ucf101_study import RecurrentLayer
from models.vmrnn import SelectiveScan, VMRNNCell

CUDA = torch.device("cuda:0")
CLASSES = 5
TENSORS_A_LAUNCH = 36
"""Of a list of tensors that one kernel updates: as many fit in a kernel's arguments."""

NO_KERNEL = {
    *("_unsafe_view", "_reshape_alias", "detach", "alias", "lift_fresh", "is_same_size"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
}
"""Operations beside views that only make or hand on tensors."""

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product_efficient_attention"}
CONVOLUTIONS = {"convolution"}

_FUSED_SGD = torch.library.Library("aten", "IMPL", "Meta")
_FUSED_SGD.impl(
    "_fused_sgd_", lambda *tensors, **options: None
)  # PyTorch forgot it; it is in place

MEMORIES: dict[type[nn.Module], Callable[[Any], Sequence[Tensor]]] = {
    ConvLSTMCell: lambda state: state[1:],
    NormalisedConvLSTMCell: lambda state: state[1:],
    LMCConvLSTMCell: lambda state: state[1:],
    ConvGRUCell: lambda state: state,
    PhyCell: lambda hidden: [hidden],
    Representation: lambda state: state[1:],
    STLSTMCell: lambda output: (output[0][1], output[1]),
    MotionAwareUnit: lambda output: output[1],
    CausalLSTMCell: lambda output: (output[0][1], output[1]),
    GradientHighway: lambda highway: [highway],
    EideticLSTMCell: lambda output: (output[0][1], output[1]),
    MIMBlock: lambda output: (*output[0][1:], output[1]),
    SwinLSTMCell: lambda state: state[1:],
    VMRNNCell: lambda state: state[1:],
    RecurrentLayer: lambda output: output[1][1:],
}
"""Of what each cell returns, what it remembers from step to step by adding to it."""

EXACT = (LogMemory, MMVP, SelectiveScan)
"""Modules that add up over so many frames or positions that their products stay in float32."""


@dataclass
class Step:
    """What a training step did.

    Attributes:
        launches: operations that launch a kernel at least, by part of the step.
        faults: what it must not do, a line each.
    """

    launches: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Operations(TorchDispatchMode):
    """Counts the operations of one `part` of a step, and finds those that need the host."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part
        self.launches = 0
        self.by_name: Counter[str] = Counter()
        self.precisions: set[tuple[str, torch.dtype]] = set()
        self.faults: dict[str, None] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.namespace != "aten":
            return output
        name = func.overloadpacket.__name__
        given, made = _tensors((args, kwargs)), _tensors(output)
        if name == "_local_scalar_dense":
            self._fault("reads a value on the host")
        elif any(_device(tensor).type == "cpu" for tensor in (*given, *made)):
            self._fault(f"has a CPU tensor in {name}")
        if func.is_view or name in NO_KERNEL:
            return output
        launches = _launches(name, args)
        self.launches += launches
        self.by_name[name] += launches
        if name in PRODUCTS | CONVOLUTIONS:
            self.precisions.add((name, given[0].dtype))
        return output

    def _fault(self, what: str) -> None:
        self.faults[f"{self.part} {what}"] = None


def _tensors(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _device(tensor: Tensor) -> torch.device:
    """The device of a tensor; a fake one tells its own without an operation."""
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def _launches(name: str, args: Sequence[Any]) -> int:
    """How many kernels an operation launches at least."""
    if name == "convolution_backward":
        return sum(map(bool, args[-1]))  # one for each gradient
    if name.startswith(("_fused_", "_foreach_")):
        return math.ceil(len(args[0]) / TENSORS_A_LAUNCH)
    return 1


@contextmanager
def autocast() -> Iterator[None]:
    """CUDA's rules for bf16: `torch.autocast("cuda")` turns itself off where there is no CUDA."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """`F.scaled_dot_product_attention` by the kernel that CUDA chooses where there is a mask."""
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (x.to(torch.bfloat16) for x in (query, key, value))
        attn_mask = None if attn_mask is None else attn_mask.to(torch.bfloat16)
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    learns = any(x is not None and x.requires_grad for x in (query, key, value, attn_mask))
    mixed: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, learns and torch.is_grad_enabled(), dropout, scale=scale
    )[0]
    return mixed


def build(model_class: type[Model], options: Mapping[str, Any], frame: tuple[int, int, int]) -> Any:
    """The model, its parameters and buffers without data on fake CUDA."""
    classes = (CLASSES,) if issubclass(model_class, Classifier) else ()
    with torch.device("meta"):
        model: Any = model_class(frame, *classes, **options)
    return model


def move(model: nn.Module) -> None:
    """Put parameters and buffers on fake CUDA, inside a `FakeTensorMode`."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=CUDA)
                module._parameters[name] = nn.Parameter(empty, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                empty = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)
                module._buffers[name] = empty


def losses(model: Model, batch: int, context: int, horizon: int, progress: float) -> list[Any]:
    """The losses of a training step, each a function without arguments."""
    clip = torch.rand(batch, context + horizon, *model.frame_shape, device=CUDA)
    if isinstance(model, Predictor):
        given = TrainingBatch(clip, context, torch.full((), progress, device=CUDA))
        return [lambda loss=loss: getattr(model, loss)(given) for loss in model.losses]
    labels = torch.zeros(batch, dtype=torch.long, device=CUDA)
    return [lambda: model.training_loss(clip, labels)]


def optimiser(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's, fused, past the step that makes its states."""
    options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        options["momentum"] = recipe.momentum
    made = OPTIMIZERS[recipe.optimizer](model.parameter_groups(recipe), **options, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    return made


def clip_gradients(model: Model, recipe: Recipe) -> None:
    """As Fabric does on CUDA, in lists, which PyTorch does not expect of fake tensors by itself."""
    if recipe.clip_value is not None:
        nn.utils.clip_grad_value_(model.parameters(), recipe.clip_value, foreach=True)
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm, foreach=True)


def measure(
    model_class: type[Model],
    size: str,
    precisions: Sequence[str],
    *,
    batch: int,
    context: int,
    horizon: int,
    progress: float,
    frame: tuple[int, int, int] = (1, 64, 64),
) -> dict[str, Step]:
    """A training step of `model_class` in each precision, and for bf16 an evaluation, too.

    Args:
        model_class: of the catalogue, with parameters.
        size: one of its sizes.
        precisions: "32", or "bf16" for CUDA's mixed precision.
        batch: sequences.
        context: frames given.
        horizon: frames to predict.
        progress: fraction of the budget spent.
        frame: channels, height and width.
    """
    recipe, clip = model_class.sizes[size].recipe, (batch, context, horizon)
    model = build(model_class, model_class.sizes[size].options, frame)
    steps = {precision: Step() for precision in precisions}
    with FakeTensorMode(), patch.object(F, "scaled_dot_product_attention", _attention):
        move(model)
        update = optimiser(model, recipe)
        for precision, step in steps.items():
            mixed = precision == "bf16"
            for loss_of in losses(model.train(), *clip, progress):
                update.zero_grad(set_to_none=True)
                with _part(step, "forward", model, mixed):
                    loss = loss_of()
                if loss.dtype != torch.float32:
                    step.faults.append(f"the loss is {loss.dtype}")
                with _part(step, "backward"):
                    loss.backward()
                step.faults += _gradient_faults(model)
                with _part(step, "optimiser"):
                    clip_gradients(model, recipe)
                    update.step()
            if mixed:  # float32 rounds nothing
                step.faults += _evaluation_faults(model.eval(), *clip)
            step.faults = [*dict.fromkeys(step.faults)]
    return steps


@contextmanager
def _part(
    step: Step, part: str, model: nn.Module | None = None, mixed: bool = False
) -> Iterator[None]:
    """Adds what happens inside to `step`; where `model` runs, with the precision it runs in."""
    hooks = [] if model is None else _watch_memories(model, step)
    operations = Operations(part)
    try:
        with operations:
            if mixed:
                with autocast():
                    yield
            else:
                yield
    finally:
        for hook in hooks:
            hook.remove()
    step.launches[part] = step.launches.get(part, 0) + operations.launches
    step.faults += operations.faults
    if model is not None:
        step.faults += _precision_faults(operations, model, mixed)


def _watch_memories(model: nn.Module, step: Step) -> list[Any]:
    def watch(module: nn.Module, inputs: object, output: Any) -> None:
        remembered = next(of for cell, of in MEMORIES.items() if isinstance(module, cell))
        step.faults.extend(
            f"{type(module).__name__} remembers {memory.dtype}"
            for memory in remembered(output)
            if memory.dtype != torch.float32
        )

    cells = [module for module in model.modules() if isinstance(module, tuple(MEMORIES))]
    return [cell.register_forward_hook(watch) for cell in cells]


def _precision_faults(operations: Operations, model: nn.Module, mixed: bool) -> list[str]:
    """Products and convolutions in another precision than wanted; those of `EXACT` in float32."""
    wanted = torch.bfloat16 if mixed else torch.float32
    remembers = any(isinstance(module, EXACT) for module in model.modules())
    exact = PRODUCTS if remembers else set()
    faults = [
        f"{operations.part} has {name} in {dtype}"
        for name, dtype in sorted(operations.precisions, key=str)
        if dtype != wanted and not (name in exact and dtype == torch.float32)
    ]
    if remembers and not any(
        name in exact and dtype == torch.float32 for name, dtype in operations.precisions
    ):
        faults.append(f"{operations.part} has no memory in float32")
    return faults


def _gradient_faults(model: nn.Module) -> list[str]:
    return [
        f"the gradient of {name} is {gradient.dtype} with strides {gradient.stride()}"
        for name, parameter in model.named_parameters()
        if (gradient := parameter.grad) is not None
        and (gradient.dtype, gradient.stride()) != (parameter.dtype, parameter.stride())
    ]


def _evaluation_faults(model: Any, batch: int, context: int, horizon: int) -> list[str]:
    evaluation = Step()
    frames = torch.rand(batch, context, *model.frame_shape, device=CUDA)
    arguments = (horizon,) if isinstance(model, Predictor) else ()
    with torch.no_grad(), _part(evaluation, "evaluation", model, True):
        model(frames, *arguments)
    return evaluation.faults
