"""How much a share of the training data is."""

from __future__ import annotations


def share_count(share: float, total: int) -> int:
    """The number of items in that share of `total`, at least one.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    if type(share) not in (int, float) or not 0 < share <= 1:
        raise ValueError(f"train_share is above 0 and at most 1, not {repr(share)[:80]}")
    return max(1, round(share * total))
