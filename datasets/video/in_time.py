"""Clips cut in time, where they are too few for each to train, validate or test as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from datasets.contract import HeldOutName
from datasets.video.dataset import SplitName
from datasets.video.manifest import Clip

SHARE = 0.1
"""Of a clip's frames for each of validation and test; at least a window."""

Shares = Mapping[HeldOutName, float]


def cut(clips: Sequence[Clip], shares: Shares, span: int) -> dict[SplitName, list[Clip]]:
    """The first part of each clip, which trains, and its last ones for the splits of `shares`.

    Between two parts as many frames are left out as a window spans: none is shared, and none that
    is held out follows at once on what trains. A clip that is too short for every part is in none.

    Args:
        clips: the clips.
        shares: of a clip's frames for each held-out split, in the order of time.
        span: frames from the first of a window to its last, both included.
    """
    parts: dict[SplitName, list[Clip]] = {"train": [], **{split: [] for split in shares}}
    for clip in clips:
        if clip.frames < least_frames(shares, span):
            continue
        end = clip.frames
        for split, share in reversed([*shares.items()]):
            frames = max(span, round(share * clip.frames))
            end -= frames
            parts[split].append(replace(clip, first=clip.first + end, frames=frames))
            end -= span
        if end >= span:
            parts["train"].append(replace(clip, frames=end))
    return parts


def least_frames(shares: Shares, span: int) -> int:
    """How many frames a clip must have to be cut: a window for each part and each gap."""
    return (2 * len(shares) + 1) * span


def told(shares: Shares, span: int) -> str:
    """How clips are cut, in a few words."""
    parts = ", then ".join(f"{share * 100:g} % for {split}" for split, share in shares.items())
    return f"first what trains, then {parts}, with {span} frames left out between"
