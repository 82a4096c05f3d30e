"""What a store can refuse or fail at, each in one line; nothing here needs MLflow."""

from __future__ import annotations

from bench.errors import UserError


class StoreError(UserError):
    """The store did not do what it was asked for."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, read or written now; the same call may do later."""


class NoStore(StoreUnavailable):
    """There is no store at `place`, or one that was half made and holds nothing."""

    def __init__(self, place: object) -> None:
        super().__init__(f"there is no MLflow store {place}: say --results or --tracking-uri")


class UnknownRun(StoreError):
    """The store has no such run, or its run was deleted."""
