"""Predictors that see the past through log-compressed memories."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Predictor
from models.layers.log_memory import CHUNK, LogMemory, Rollout
from models.layers.patches import from_patches, patched_shape, to_patches


class MemoryLayer(nn.Module):
    """A memory of every channel and place, and maps of new features made of what it holds.

    Args:
        memory: of `inputs` channels.
        mix: takes its nodes * inputs channels [B,nodes*inputs,h,w] to features [B,outputs,h,w].
    """

    def __init__(self, memory: LogMemory, mix: nn.Module) -> None:
        super().__init__()
        self.memory, self.mix = memory, mix

    def forward(self, memories: Tensor) -> Tensor:
        """Features [B,outputs,h,w] of memories [B,nodes,inputs,h,w]."""
        features: Tensor = self.mix(memories.flatten(1, 2))
        return features


class MemoryStack(Predictor):
    """Layers of memories on patches of frames; a 1x1 convolution makes the next frame.

    The layers below the last are computed at every frame of the context, 64 frames at a time, the
    last only where a prediction is made. Between frames nothing is kept but the memories' states,
    of constant size; training keeps features of every frame, in proportion to the context.

    The loss is that of the forecast, each prediction read back, from the first step on.
    """

    encoder: nn.Module
    """Takes patches [B,C*patch*patch,h,w] to the input of the first layer."""
    layers: nn.ModuleList
    """Of `MemoryLayer`s."""

    def __init__(self, frame_shape: FrameShape, *, width: int, patch: int) -> None:
        super().__init__(frame_shape)
        self.patch = patch
        self.patched_shape = patched_shape(frame_shape, patch)
        self.output = nn.Conv2d(width, self.patched_shape[0], 1)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        rollouts = self.remember(to_patches(context, self.patch), horizon - 1)
        predictions = [self.output(self.layers[-1](rollouts[-1].now()))]
        for _ in range(horizon - 1):
            features = self.encoder(predictions[-1])
            for layer, rollout in zip(self.layers, rollouts, strict=True):
                features = layer(rollout.push(features))
            predictions.append(self.output(features))
        return from_patches(torch.stack(predictions, 1), self.patch)

    def remember(self, frames: Tensor, steps: int) -> list[Rollout]:
        """Every layer's memory of patches [B,T,c,h,w], to be read after each of `steps` more."""
        layers = [layer for layer in self.layers if isinstance(layer, MemoryLayer)]
        states: list[Tensor | None] = [None] * len(layers)
        for chunk in torch.split(frames, CHUNK, 1):
            features = self.encoder(chunk.flatten(0, 1)).unflatten(0, chunk.shape[:2])
            for i, layer in enumerate(layers):
                before, states[i] = states[i], layer.memory.absorb(features, states[i])
                if layer is not layers[-1]:
                    memories = layer.memory.read(features, before).flatten(0, 1)
                    features = layer(memories).unflatten(0, chunk.shape[:2])
        return [
            Rollout(layer.memory, state, steps)
            for layer, state in zip(layers, states, strict=True)
            if state is not None
        ]
