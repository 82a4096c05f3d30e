"""Where every transcribed model starts, against the layers of its published code.

Those are PyTorch's own, whose weights and biases are uniform within 1 / sqrt(fan-in) of the layer
as it is published: `tests/literal` gives the parameters in their published shapes. Models that
start elsewhere say so in their docstrings, and here.
"""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.suite import catalogue
from tests.models.test_literal import NAMES

WIDER: dict[str, dict[str, Any]] = {
    "convlstm": {"width": 32, "layers": 2},
    "predrnn": {"width": 20, "layers": 2},
    "predrnn_pp": {"width": 16, "layers": 2},
    "predrnn_v2": {"width": 20, "layers": 2},
    "convlstm_seq2seq": {"width": 24},
    "lmc_memory": {"width": 32, "layers": 2},
    "mau": {"width": 20, "layers": 2},
    "phydnet": {"width": 64, "hidden": 32},
    "prednet": {"width": 24, "layers": 3},
    "e3d_lstm": {"width": 16, "layers": 2},
    "mim": {"width": 16, "layers": 2},
    "swinlstm_b": {"width": 64, "depth": 3, "heads": 2},
    "swinlstm_d": {"width": 32},
    "vmrnn": {"width": 48},
    "ucf101_study_convlstm": {"width": 24},
    "ucf101_study_predrnn": {"width": 20},
}
STARTS: list[tuple[str, float]] = [
    (r".*(norm\d?|scale)(\.weight)?", 1.0),
    (r".*(norm\d?\.bias|shift)", 0.0),
    (r".*peep_.", 0.0),  # ours; memory that nobody has set there
    (r"head\.bias", -3.0),  # ours: frames start dark
    (r"pixels\.bias", -2.5),  # ours, of the UCF101 study
]
BIASED = {
    "bias": ("x", "conv"),
    **{f"{part}_bias": (part,) for part in ("x", "h", "new_c", "new_m")},
}
"""What a bias that is not named for its weights belongs to."""


def is_uniform(drawn: Tensor, bound: float) -> bool:
    """Whether the largest of `drawn` are those of numbers uniform in [-bound, bound].

    The largest of n falls short of the bound by more than 15 / n of it once in 3 million times.
    """
    largest = float(drawn.abs().max())
    return bound * (1 - 15 / drawn.numel()) <= largest <= bound * (1 + 1e-6)


def fan_in(weight: Tensor) -> int:
    return weight[0].numel()


def weights_of(bias: str, w: dict[str, Tensor]) -> Tensor:
    """The weights of the layer that `bias` is of."""
    owner, _, kind = bias.rpartition(".")
    names = [owner, f"{owner}.weight", *(f"{owner}.{part}" for part in BIASED[kind])]
    return next(w[name] for name in names if name in w)


@pytest.mark.parametrize("name", NAMES)
def test_every_part_starts_as_the_published_layer_it_stands_for(name: str) -> None:
    literal = importlib.import_module(f"tests.literal.{name}")
    torch.manual_seed(0)
    model = catalogue.all_models()[name]((1, 64, 64), **WIDER.get(name, {}))
    w = {key: value.detach() for key, value in literal.weights(model).items()}
    starts = STARTS if "forecaster" not in name else STARTS[:2]
    wrong = [key for key in w if not starts_well(key, w, starts)]
    assert not wrong


def starts_well(key: str, w: dict[str, Tensor], starts: list[tuple[str, float]]) -> bool:
    drawn = w[key]
    for pattern, value in starts:
        if re.fullmatch(pattern, key):
            return bool((drawn == value).all())
    if key.endswith((".groups", ".dt_steps", ".A_logs")):  # the latter: see test_vmrnn.py
        return True
    if key.startswith("highway."):
        return is_uniform(drawn, 0.001)
    if key == "slots":
        return is_spread(drawn, 1.0, kurtosis=3)
    if key.endswith(".table"):
        return is_spread(drawn, 0.02, kurtosis=3)
    if not key.endswith("bias"):
        return is_uniform(drawn, fan_in(drawn) ** -0.5)
    bound = fan_in(weights_of(key, w)) ** -0.5
    if key.endswith("_bias"):  # half of the sum of two, of x and of h, say
        return is_spread(2 * drawn, bound * math.sqrt(2 / 3), kurtosis=2.4)
    return is_uniform(drawn, bound)


def is_spread(drawn: Tensor, deviation: float, kurtosis: float) -> bool:
    """Whether the standard deviation of `drawn` is that, within 5 of its own standard errors."""
    error = math.sqrt((kurtosis - 1) / (4 * drawn.numel()))
    return abs(float(drawn.std(correction=0)) / deviation - 1) < 5 * error
