"""Torchvision, also where its wheel was built for CUDA and torch is CPU-only.

Such a wheel cannot load its compiled operators, and its import dies on the first operator that it
registers something for. Import torchvision, or anything that imports it, after this function.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SYMPTOM = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """The package torchvision, without its compiled operators where they do not fit this torch.

    Models, data sets and transforms work either way; without the operators, detection and
    `io.decode_image` raise when called.

    Raises:
        ImportError: where torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", _SCHEMA)
    return importlib.import_module("torchvision")
