"""Waits for an MLflow server that is away: restarted, moved, or cut off for minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bench.store.address import is_server
from bench.store.errors import StoreUnavailable
from bench.units import duration

if TYPE_CHECKING:
    from bench.store.mlflow import Store

AWAY_SECONDS = 900.0  # that a server may be
POLL_SECONDS = 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Does what it is given; where the server is away, once it is back.

    Attributes:
        store: one that is no server is not waited for.
        tell: called with a line where there is a wait.
        go_on: called every few seconds of it; False ends it.
    """

    store: Store
    tell: Callable[[str], None]
    go_on: Callable[[], bool]

    def __call__(self, act: Callable[[], T]) -> T:
        """What `act` returns, which uses the store and may be called more than once.

        Raises:
            StoreUnavailable: the server was away for too long, or `go_on` said so.
        """
        ends: float | None = None
        while True:
            try:
                self.store.hear()
                return act()
            except StoreUnavailable as error:
                now = time.monotonic()
                ended = ends is not None and now > ends
                if not is_server(self.store.uri) or ended or not self.go_on():
                    raise
                if ends is None:
                    ends = now + AWAY_SECONDS
                    self.tell(f"{error}: waiting for it, {duration(AWAY_SECONDS)} at most")
            time.sleep(POLL_SECONDS)
