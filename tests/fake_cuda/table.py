"""The kernels of a training step of every model, as a table that tests compare with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

TABLE = Path(__file__).parents[2] / "results" / "reference" / "kernels.md"
PARTS = ("forward", "backward", "optimiser")
PRECISIONS = ("bf16", "32")
COMMAND = "python -m tests.fake_cuda --write"

Launches = Mapping[str, int]
"""Operations that launch a kernel at least, by part of the step."""


def render(clips: Mapping[str, str], rows: Mapping[tuple[str, str], Mapping[str, Launches]]) -> str:
    """The table in Markdown.

    Args:
        clips: what each size's steps were given, by size.
        rows: by model and size, for each precision, what a step launched.
    """
    import torch

    head = ["model", "size", *(f"{part}, {p}" for p in PRECISIONS for part in PARTS)]
    lines = [
        "# Kernels of a training step",
        "",
        "Operations that launch at least one CUDA kernel in one training step (a step of several",
        "updates counts all), on frames of 1x64x64, by part: the losses, their gradients, and",
        "clipping and updates. Counted on fake CUDA, without a GPU, in mixed precision (bf16) and",
        f"in float32, by PyTorch {torch.__version__}. The batch size makes no difference.",
        "",
        *(f"- {size}: {clip}" for size, clip in clips.items()),
        "",
        f"`{COMMAND}` writes this file anew. A test fails where a small size launches more.",
        "",
        _line(head),
        _line(["---", "---", *["--:"] * (len(head) - 2)]),
    ]
    for (model, size), launches in rows.items():
        counts = [f"{launches[p][part]:,}" for p in PRECISIONS for part in PARTS]
        lines.append(_line([model, size, *counts]))
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def recorded(text: str) -> dict[tuple[str, str], dict[str, dict[str, int]]]:
    """The rows of a rendered table."""
    rows = {}
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith(("| model", "| ---")):
            continue
        model, size, *counts = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = iter(int(count.replace(",", "")) for count in counts)
        rows[model, size] = {p: {part: next(numbers) for part in PARTS} for p in PRECISIONS}
    return rows


def version(text: str) -> str:
    """The version of PyTorch that a rendered table was counted by."""
    return text.partition("by PyTorch ")[2].partition(". ")[0]
