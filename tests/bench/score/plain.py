"""What is known of the clips of a video that measures nothing."""

from torch import Tensor

from bench.score.metric import ClipFacts, Metric
from bench.score.metrics import METRICS
from datasets.contract import Spec


def plain(frames: Tensor) -> ClipFacts:
    """What is known of clips of which `frames` [B,T,C,H,W] are to be predicted."""
    count, horizon, channels, height, width = frames.shape
    return ClipFacts(Spec((channels, height, width), 1, horizon), count)


def of_plain(clips: ClipFacts) -> dict[str, Metric]:
    """The metrics of predictions that belong to `clips`, by name."""
    return {name: m for name, m in METRICS["prediction"].items() if m.belongs(clips)}
