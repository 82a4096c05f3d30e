"""SwinLSTM-B as its paper and code have it, step by step: the yardstick of ours.

Drop path is off: `TINY` sets its rate to 0, other sizes are to be compared in evaluation mode.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.swinlstm import SwinBlock, SwinLSTM, SwinLSTMCell

TINY = {"width": 4, "depth": 5, "heads": 2, "window": 2, "drop_path": 0.0}
FRAME = (1, 8, 12)

State = tuple[Tensor, Tensor] | None


def weights(model: SwinLSTM) -> dict[str, Tensor]:
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
    norms = [layer for layer in model.output if isinstance(layer, nn.GroupNorm)]
    for name, layers in (("unembed", convolutions), ("unembed_norm", norms)):
        for n, layer in enumerate(layers):
            w[f"{name}.{n}.weight"], w[f"{name}.{n}.bias"] = layer.weight, layer.bias
    for c, cell in enumerate(model.cells):
        assert isinstance(cell, SwinLSTMCell)
        for n, block in enumerate(cell.blocks):
            assert isinstance(block, SwinBlock)
            parts = {
                "norm1": block.norm,
                "qkv": block.attention.query_key_value,
                "proj": block.attention.project,
                "norm2": block.feed_forward[0],
                "fc1": block.feed_forward[1],
                "fc2": block.feed_forward[3],
            }
            if block.fuse is not None:
                parts["red"] = block.fuse
            for name, part in parts.items():
                w[f"{c}.{n}.{name}.weight"], w[f"{c}.{n}.{name}.bias"] = part.weight, part.bias
            w[f"{c}.{n}.table"] = block.attention.position_bias.T
    return w


def windows(x: Tensor, side: int) -> Tensor:
    """Windows [B*windows,side*side,C] of a map x [B,H,W,C]."""
    b, h, w, c = x.shape
    x = x.view(b, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5).contiguous()
    return x.view(-1, side * side, c)


def from_windows(x: Tensor, side: int, h: int, w: int) -> Tensor:
    """The map [B,H,W,C] of windows x [B*windows,side*side,C]."""
    x = x.view(-1, h // side, w // side, side, side, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, h, w, x.shape[-1])


@cache
def shift_mask(h: int, w: int, side: int, shift: int) -> Tensor:
    """-100 for tokens of different regions of the rolled map, else 0: [windows,tokens,tokens]."""
    regions = torch.zeros(1, h, w, 1)
    cuts = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
    for n, rows in enumerate(cuts):
        for m, columns in enumerate(cuts):
            regions[:, rows, columns] = 3 * n + m
    numbers = windows(regions, side).squeeze(-1)
    return torch.where(numbers[:, None] == numbers[:, :, None], 0.0, -100.0)


@cache
def offset_index(side: int) -> Tensor:
    """The row of the bias table for each pair of a window's tokens [tokens,tokens]."""
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    at = at.flatten(1)
    offsets = at[:, :, None] - at[:, None, :] + side - 1
    return offsets[0] * (2 * side - 1) + offsets[1]


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def attention(w: dict[str, Tensor], name: str, x: Tensor, side: int, mask: Tensor | None) -> Tensor:
    """Attention within windows x [B*windows,tokens,C]."""
    count, tokens, width = x.shape
    table = w[f"{name}.table"]
    heads = table.shape[1]
    qkv = linear(w, f"{name}.qkv", x).reshape(count, tokens, 3, heads, width // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    scores = (q * (width // heads) ** -0.5) @ k.transpose(-2, -1)
    bias = table[offset_index(side).view(-1)].view(tokens, tokens, heads)
    scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
    if mask is not None:
        scores = scores.view(-1, len(mask), heads, tokens, tokens) + mask[None, :, None]
        scores = scores.view(-1, heads, tokens, tokens)
    mixed = (F.softmax(scores, -1) @ v).transpose(1, 2).reshape(count, tokens, width)
    return linear(w, f"{name}.proj", mixed)


def block(
    w: dict[str, Tensor], name: str, x: Tensor, hx: Tensor | None, h: int, shifted: bool
) -> Tensor:
    """One Swin block on tokens x [B,h*w,C]."""
    b, length, width = x.shape
    side = (math.isqrt(len(w[f"{name}.table"])) + 1) // 2
    shift = side // 2 if shifted and side < min(h, length // h) else 0
    shortcut = x
    x = norm(w, f"{name}.norm1", x)
    if hx is not None:
        x = linear(w, f"{name}.red", torch.cat((x, norm(w, f"{name}.norm1", hx)), -1))
    x = x.view(b, h, length // h, width)
    mask = None
    if shift:
        x = torch.roll(x, (-shift, -shift), (1, 2))
        mask = shift_mask(h, length // h, side, shift).to(x)
    x = from_windows(attention(w, name, windows(x, side), side, mask), side, h, length // h)
    if shift:
        x = torch.roll(x, (shift, shift), (1, 2))
    x = shortcut + x.view(b, length, width)
    mlp = linear(w, f"{name}.fc2", F.gelu(linear(w, f"{name}.fc1", norm(w, f"{name}.norm2", x))))
    return x + mlp


def cell(w: dict[str, Tensor], c: int, x: Tensor, state: State, h: int) -> tuple[Tensor, Tensor]:
    """New hidden and cell state of cell `c` for tokens x [B,h*w,C]."""
    hx, cx = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
    features, n = x, 0
    while f"{c}.{n}.table" in w:
        second = hx if n == 0 else x if n % 2 == 0 else None
        features = block(w, f"{c}.{n}", features, second, h, n % 2 == 1)
        n += 1
    gate, update = torch.sigmoid(features), torch.tanh(features)
    cx = gate * (cx + update)
    return gate * torch.tanh(cx), cx


def embed(w: dict[str, Tensor], frame: Tensor) -> tuple[Tensor, int]:
    """Tokens [B,h*w,C] of a frame, and h."""
    x = F.conv2d(frame, w["embed.weight"], w["embed.bias"], stride=w["embed.weight"].shape[-1])
    return norm(w, "embed_norm", x.flatten(2).transpose(1, 2)), x.shape[2]


def unembed(w: dict[str, Tensor], x: Tensor, h: int) -> Tensor:
    """The frame [B,C,H,W] of tokens x [B,h*w,width]."""
    x = x.view(len(x), h, -1, x.shape[-1]).permute(0, 3, 1, 2)
    n = 0
    while f"unembed.{n}.weight" in w:
        x = F.conv_transpose2d(x, w[f"unembed.{n}.weight"], w[f"unembed.{n}.bias"], 2, 1, 1)
        if f"unembed_norm.{n}.weight" in w:  # patches larger than 2
            x = F.group_norm(x, 16, w[f"unembed_norm.{n}.weight"], w[f"unembed_norm.{n}.bias"])
            x = F.leaky_relu(x, 0.2)
        n += 1
    return torch.sigmoid(x)


def step(w: dict[str, Tensor], frame: Tensor, state: State) -> tuple[Tensor, State]:
    """The next frame and the new state."""
    x, h = embed(w, frame)
    state = cell(w, 0, x, state, h)
    return unembed(w, state[0], h), state


def rollout(w: dict[str, Tensor], context: Tensor, steps: int) -> Tensor:
    """The frames [B,steps,C,H,W] after each frame that is read: the context, then its own."""
    predictions: list[Tensor] = []
    state: State = None
    for t in range(steps):
        frame = context[:, t] if t < context.shape[1] else predictions[-1]
        prediction, state = step(w, frame, state)
        predictions.append(prediction)
    return torch.stack(predictions, 1)


def training_loss(w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
    """MSE of the frames after the first."""
    outputs = rollout(w, clip[:, :context_frames], clip.shape[1] - 1)
    return F.mse_loss(outputs, clip[:, 1:])


def prediction(w: dict[str, Tensor], context: Tensor, horizon: int) -> Tensor:
    """The frames after the context."""
    return rollout(w, context, context.shape[1] + horizon - 1)[:, -horizon:]
