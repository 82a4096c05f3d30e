"""Everything that MLflow raises becomes a `StoreError`, in this one place."""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from bench.store.address import shown
from bench.store.errors import StoreError, StoreUnavailable, UnknownRun

RAISED = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
"""By MLflow's client; requests' errors are OSErrors."""
_LONGEST = 300  # characters of a reason: a proxy may answer with a page
_NO_RUN = re.compile(r"parameter 'run_id'|\brun\b.* must be in the 'active' state")
_REFUSED = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")


class Guarded:
    """Passes every call on to `target`; what that raises, it raises as a `StoreError`."""

    def __init__(
        self, target: object, uri: str, raised: tuple[type[Exception], ...] = RAISED
    ) -> None:
        """Guard `target`, a part of the store at `uri`, against the errors `raised`."""
        self.target = target
        self._uri, self._raised = uri, raised

    def __getattr__(self, name: str) -> Any:
        called = getattr(self.target, name)

        @functools.wraps(called)
        def call(*arguments: Any, **named: Any) -> Any:
            with reported(self._uri, self._raised):
                return called(*arguments, **named)

        return call


@contextlib.contextmanager
def reported(uri: str, raised: tuple[type[Exception], ...] = RAISED) -> Iterator[None]:
    """Turn the errors `raised` in the block, about the store at `uri`, into a `StoreError`."""
    try:
        yield
    except raised as error:
        raise store_error(error, uri) from error


def store_error(error: Exception, uri: str) -> StoreError:
    """What `error`, raised by MLflow on the store at `uri`, means."""
    code = getattr(error, "error_code", "")
    if code == "RESOURCE_DOES_NOT_EXIST" or _NO_RUN.search(str(error)):
        return UnknownRun(f"the MLflow store {shown(uri)} has no such run: {reason(error)}")
    if code in _REFUSED:
        return StoreError(f"the MLflow store {shown(uri)} refused a record: {reason(error)}")
    return StoreUnavailable(f"cannot use the MLflow store {shown(uri)}: {reason(error)}")


def reason(error: BaseException) -> str:
    """Why, in one line: what the system or SQLite said, where MLflow wrapped that."""
    said: BaseException = error
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, sqlite3.Error) or (isinstance(inner, OSError) and inner.strerror):
            said = inner
        inner = inner.__cause__ or inner.__context__
    line = (str(said).strip() or type(said).__name__).splitlines()[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
