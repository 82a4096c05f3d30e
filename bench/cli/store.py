"""The verbs for the store itself: ui, push and clean."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from bench.cli.options import Places, suite_name, unset
from bench.errors import UserError
from bench.store import ui
from bench.store.address import database_file, is_server, shown, store_uri


@dataclass(frozen=True)
class Ui:
    """Open MLflow's own pages on the store."""

    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    host: str = ui.HOST
    """Address to listen at; 0.0.0.0 is reached from other machines."""
    port: int = ui.PORT
    serve: bool = False
    """Let cells elsewhere record here: a server that makes the store and takes artifacts, too."""
    names: Annotated[tuple[str, ...], unset("NAME ...")] = ()
    """With --serve: further names that others may call this machine by."""

    def __call__(self) -> int:
        """Serve until interrupted."""
        if self.serve:
            return self._serve()
        pages = self.places.store().pages(ui.address(self.places.uri, self.host, self.port))
        return ui.show(self.places.uri, self.host, self.port, pages)

    def _serve(self) -> int:
        """Serve a database to cells elsewhere."""
        from bench.console import SCREEN
        from bench.store.mlflow import Store

        if is_server(self.places.uri):
            raise UserError("--serve takes a database: the tracking URI is a server's already")
        ui.check_free(self.host, self.port)  # before a store is made
        Store(self.places.uri, SCREEN.announce)
        file = database_file(self.places.uri)
        artifacts = (file.parent if file else self.places.results) / "artifacts"
        return ui.serve(self.places.uri, artifacts, self.host, self.port, self.names)


@dataclass(frozen=True)
class Push:
    """Copy all runs of a suite into another store, such as a server; ids stay findable."""

    suite: str
    """Name of the suite, as MLflow's experiment is called."""
    to: Annotated[str, tyro.conf.arg(metavar="URI")]
    """The other MLflow store, such as http://head:5000 or sqlite:///elsewhere/mlflow.db."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Copy them, and print how many."""
        from bench.console import SCREEN

        with SCREEN.waiting("starting"):
            from bench.store.mlflow import Store
            from bench.store.push import push

        store, suite = self.places.store(), suite_name(self.suite)
        uri = store_uri(self.to, self.places.results)
        store.require_suite(suite)  # before another store is made
        to = Store(uri, SCREEN.announce)
        if to.uri == store.uri:
            raise UserError("--to is the store that the runs are in: name another")
        copied, there = push(store, suite, to, SCREEN.announce)
        sys.stdout.write(f"{copied} runs copied to {shown(to.uri)}, {there} were there\n")
        return 0


@dataclass(frozen=True)
class Clean:
    """Show what can be deleted and how large it is, or delete some of it."""

    what: Annotated[
        tuple[Literal["failed", "interrupted", "weights", "caches"], ...],
        tyro.conf.Positional,
        unset("[{failed,interrupted,weights,caches} ...]"),
    ] = ()
    """What to delete (default: nothing, it is only shown)."""
    suite: Annotated[str | None, unset("SUITE")] = None
    """Only of this suite, and no caches (default: all)."""
    yes: bool = False
    """Delete it without a question."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Show the sizes, or delete and print how much that freed."""
        from bench.clean import clean
        from bench.console.rows import print_rows
        from bench.units import byte_size

        suite = suite_name(self.suite) if self.suite else None
        store = None if self.what == ("caches",) and suite is None else self.places.store()
        items = clean.found(store, self.places.results, suite)
        if not self.what:
            print_rows(clean.rows(items), ["what", "count", "size", "meaning"])
            return 0
        if not self.yes and not sys.stdin.isatty():
            raise UserError("there is nobody to ask whether to delete: say --yes")
        count, size = clean.clean(items, self.what, lambda what: self.yes or _is_sure(what))
        sys.stdout.write(f"{count} deleted, {byte_size(size)}\n")
        return 0


def _is_sure(what: str) -> bool:
    """Whether the user wants to delete that."""
    sys.stdout.write(f"{what}\ndelete? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
