"""The rows of `ls models`."""

from __future__ import annotations

from collections.abc import Callable

from bench.literature import parameters
from bench.suite import catalogue
from bench.suite.costs import cost_of
from bench.train.cost import Cost
from datasets.contract import Spec
from models.recipe import Paper, TaskName

COLUMNS = [
    *("name", "size", "parameters", "published", "differs", "gflops", "year", "task"),
    *("published_frames", "why_differs", "title", "paper"),
]
NOTE = (
    "parameters and gflops: for frames of 1x64x64; published: of the published model, for its own"
    " frames; differs: how many more are here, for those frames. `ls models NAME` says why."
)
AS_ON: dict[TaskName, Spec] = {
    "prediction": Spec(frame_shape=(1, 64, 64), context_frames=10, horizon=10),
    "recognition": Spec((1, 64, 64), 10, 0, classes=tuple(map(str, range(174)))),
}
"""The clips that costs are listed for: Moving MNIST's, and Something-Something V2's classes."""


def rows(announce: Callable[[str], None]) -> list[dict[str, object]]:
    """Every model in each of its sizes, as for clips of `AS_ON`.

    `announce` gets a line where their costs are not known yet: to count them takes a while.
    """
    listed = [
        (name, size, model, cost_of(model, content.options, AS_ON[model.task]))
        for name, model in sorted(catalogue.all_models().items())
        for size, content in model.sizes.items()
    ]
    uncounted = sum(not cost.is_known for *_, cost in listed)
    if uncounted:
        announce(f"counting the FLOPs of {uncounted} models (once, about a second each)")
    return [
        {"name": name, "size": size, "task": model.task}
        | _shown(cost)
        | _counted(name, size)
        | _published(model.paper)
        for name, size, model, cost in listed
    ]


def _shown(cost: Cost) -> dict[str, object]:
    """Parameters, and FLOPs where they can be counted."""
    flops = {} if cost.predict_flops is None else {"gflops": round(cost.predict_flops / 1e9, 2)}
    return {"parameters": cost.parameters, **flops}


def _counted(name: str, size: str) -> dict[str, object]:
    """How many parameters the published model has, and by how many and why ours differs."""
    count = parameters.of(name) if size == "published" else None
    if count is None:
        return {}
    return {
        "published": count.parameters,
        "differs": count.differs,
        "published_frames": count.frames,
        "why_differs": count.why,
    }


def _published(paper: Paper | None) -> dict[str, object]:
    return {"year": paper.year, "title": paper.title, "paper": paper.url} if paper else {}
