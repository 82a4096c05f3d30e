"""VMRNN as its paper and code have it, step by step, a scan position by position.

Drop path is off: `TINY` sets its rate to 0, other sizes are to be compared in evaluation mode.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.swinlstm import PatchExpanding, PatchMerging
from models.vmrnn import VMRNN, MambaBlock
from tests.literal.swinlstm_b import embed, linear, norm, unembed
from tests.literal.swinlstm_d import expand, merge

TINY: dict[str, Any] = {"width": 4, "down": (2, 1), "up": (1, 2), "states": 3, "drop_path": 0.0}
FRAME = (1, 8, 16)

Weights = dict[str, Tensor]
States = list[tuple[Tensor, Tensor] | None]


def weights(model: VMRNN) -> Weights:
    """The published parameters, in the published shapes."""
    width, patches = model.project.weight.shape
    side = model.patch
    w = {
        "embed.weight": model.project.weight.view(width, patches // side**2, side, side),
        "embed.bias": model.project.bias,
        "embed_norm.weight": model.norm.weight,
        "embed_norm.bias": model.norm.bias,
    }
    convolutions = [layer for layer in model.output if isinstance(layer, nn.ConvTranspose2d)]
    for n, layer in enumerate(convolutions):
        w[f"unembed.{n}.weight"], w[f"unembed.{n}.bias"] = layer.weight, layer.bias
    for c, cell in enumerate(model.cells):
        for n, block in enumerate(cell.blocks):  # type: ignore[arg-type, union-attr]
            assert isinstance(block, MambaBlock)
            name, scan = f"{c}.{n}", block.scan
            parts = {"ln_1norm": block.norm, "out_norm": scan.norm, "conv": scan.mix}
            if block.fuse is not None:
                parts["linear"] = block.fuse
            for part, layer in parts.items():
                w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"] = layer.weight, layer.bias
            w[f"{name}.in_proj.weight"] = scan.read.weight
            w[f"{name}.out_proj.weight"] = scan.write.weight
            for k in range(4):
                w[f"{name}.{k}.x_proj.weight"] = scan.select[k].T
                w[f"{name}.{k}.dt_proj.weight"] = scan.pace[k].T
                w[f"{name}.{k}.dt_steps"] = scan.pace_bias[k, 0]
                w[f"{name}.{k}.A_logs"] = scan.decay[k].T
                w[f"{name}.{k}.Ds_scale"] = scan.skip[k]
    for n, layer in enumerate(model.resampled):
        if isinstance(layer, PatchMerging | PatchExpanding):
            kind = "merge" if isinstance(layer, PatchMerging) else "expand"
            w[f"{n}.{kind}.weight"] = layer.project.weight
            w[f"{n}.{kind}_norm.weight"] = layer.norm.weight
            w[f"{n}.{kind}_norm.bias"] = layer.norm.bias
            if kind == "merge":  # published: the four tokens of a square column by column
                for part in ("merge.weight", "merge_norm.weight", "merge_norm.bias"):
                    first, second, third, fourth = w[f"{n}.{part}"].chunk(4, -1)
                    w[f"{n}.{part}"] = torch.cat((first, third, second, fourth), -1)
    return w


def scan(w: Weights, name: str, x: Tensor) -> Tensor:
    """One scan [B,L,D] of x [B,L,D] in its order."""
    w = {key.removeprefix(f"{name}."): value for key, value in w.items() if key.startswith(name)}
    states = w["A_logs"].shape[1]
    rank = w["dt_proj.weight"].shape[1]
    dt, b, c = (x @ w["x_proj.weight"].T).split((rank, states, states), -1)
    dt = F.softplus(dt @ w["dt_proj.weight"].T + w["dt_steps"])
    h = x.new_zeros(len(x), x.shape[2], states)
    outputs = []
    for t in range(x.shape[1]):
        step = dt[:, t, :, None]
        h = torch.exp(step * -torch.exp(w["A_logs"])) * h + step * b[:, t, None] * x[:, t, :, None]
        outputs.append((h * c[:, t, None]).sum(-1) + w["Ds_scale"] * x[:, t])
    return torch.stack(outputs, 1)


def scan_in_four_orders(w: Weights, name: str, x: Tensor) -> Tensor:
    """The map [B,H,W,C] of x of the same shape."""
    batch, height, width, _ = x.shape
    x, z = linear(w, f"{name}.in_proj", x).chunk(2, -1)
    x = x.permute(0, 3, 1, 2)
    conv = w[f"{name}.conv.weight"], w[f"{name}.conv.bias"]
    x = F.silu(F.conv2d(x, *conv, padding=1, groups=x.shape[1])).permute(0, 2, 3, 1)
    by_rows, by_columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
    y = scan(w, f"{name}.0", by_rows) + scan(w, f"{name}.2", by_rows.flip(1)).flip(1)
    turned = scan(w, f"{name}.1", by_columns) + scan(w, f"{name}.3", by_columns.flip(1)).flip(1)
    y = y.view(batch, height, width, -1)
    y = y + turned.view(batch, width, height, -1).transpose(1, 2)
    return linear(w, f"{name}.out_proj", norm(w, f"{name}.out_norm", y) * F.silu(z))


def cell(
    w: Weights, c: int, x: Tensor, state: tuple[Tensor, Tensor] | None, h: int
) -> tuple[Tensor, Tensor]:
    """New hidden and cell state of cell `c` for tokens x [B,h*w,C]."""
    hx, cx = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
    n = 0
    while f"{c}.{n}.conv.weight" in w:
        y = norm(w, f"{c}.{n}.ln_1norm", x)
        if n == 0:
            y = torch.cat((y, norm(w, f"{c}.{n}.ln_1norm", hx)), -1)
            y = linear(w, f"{c}.{n}.linear", y)
        y = scan_in_four_orders(w, f"{c}.{n}", y.unflatten(1, (h, -1)))
        x = x + y.flatten(1, 2)
        n += 1
    gate, update = torch.sigmoid(x), torch.tanh(x)
    cx = gate * (cx + update)
    return gate * torch.tanh(cx), cx


def step(w: Weights, frame: Tensor, states: States) -> tuple[Tensor, States]:
    """The next frame and the new states."""
    x, h = embed(w, frame)
    new: States = []
    for c, state in enumerate(states):
        hidden, kept = cell(w, c, x, state, h)
        new.append((hidden, kept))
        x = hidden
        if f"{c}.merge.weight" in w:
            x, h = merge(w, c, x, h), h // 2
        elif f"{c}.expand.weight" in w:
            x, h = expand(w, c, x, h), h * 2
    return unembed(w, x, h), new


def rollout(w: Weights, context: Tensor, steps: int) -> Tensor:
    """The frames [B,steps,C,H,W] after each frame that is read: the context, then its own."""
    cells = 1 + max(int(name.split(".")[0]) for name in w if name.endswith("in_proj.weight"))
    predictions: list[Tensor] = []
    states: States = [None] * cells
    for t in range(steps):
        frame = context[:, t] if t < context.shape[1] else predictions[-1]
        prediction, states = step(w, frame, states)
        predictions.append(prediction)
    return torch.stack(predictions, 1)


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """MSE of the frames after the first."""
    outputs = rollout(w, clip[:, :context_frames], clip.shape[1] - 1)
    return F.mse_loss(outputs, clip[:, 1:])


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The frames after the context."""
    return rollout(w, context, context.shape[1] + horizon - 1)[:, -horizon:]
