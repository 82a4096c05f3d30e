"""Where a store is: its URI, and the file of one that is a SQLite database."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bench.errors import UserError
from bench.escape import one_line

DATABASE = "mlflow.db"  # in the results folder


def store_uri(tracking_uri: str | None, results: Path) -> str:
    """Where runs are kept: the given URI, `$MLFLOW_TRACKING_URI`, or SQLite under `results`.

    Raises:
        UserError: the URI is empty, a plain path, or names no file that could be a SQLite database.
    """
    if tracking_uri == "":
        raise UserError("the tracking URI is empty: leave it out for the store of the results")
    given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or uri_of(results / DATABASE)
    try:
        parts = urlsplit(given)
    except ValueError as error:
        raise UserError(f"{one_line(given)} is no address: {error}") from error
    if re.fullmatch(r"[\w.-]+:\d+/?", given):
        raise UserError(f"{given} is no address: write http://{given}")
    if parts.scheme == "file" or (not parts.scheme and given != "databricks"):
        path = Path(url2pathname(parts.path)).expanduser()  # of MLflow's stores of small files
        instead = uri_of(path if path.suffix else path / DATABASE)
        line = one_line(given)
        raise UserError(f"{line} is a path, where a store has an address: write {instead}")
    file = database_file(given)
    return given if file is None else uri_of(file)


def store_exists(uri: str) -> bool:
    """Whether opening the store would create nothing."""
    if is_server(uri):
        return True
    file = database_file(uri)
    return file is None or file.exists()


def is_server(uri: str) -> bool:
    """Whether the store is an MLflow tracking server."""
    return uri.startswith(("http://", "https://"))


def database_file(uri: str) -> Path | None:
    """The file of the SQLite database at `uri`; None where the store is another.

    Raises:
        UserError: the URI names no file, or has what MLflow cannot open.
    """
    if urlsplit(uri).scheme.partition("+")[0].lower() != "sqlite":
        return None
    from sqlalchemy import make_url  # not at the start of every verb
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError as error:
        raise UserError(f"{uri} is no URI of a database: write sqlite:///FILE") from error
    if url.database in (None, "", ":memory:"):
        raise UserError(f"{uri} names no file, in which runs would outlast the process")
    if "?" in uri:
        raise UserError(f"{uri} has options: write sqlite:///FILE, with %3F for a question mark")
    return sayable(Path(url.database or "")).absolute()


def uri_of(file: Path) -> str:
    """The URI of the SQLite database `file`, as short as SQLAlchemy understands it."""
    from sqlalchemy import URL, make_url

    path = str(sayable(file.absolute()))
    plain = f"sqlite:///{path}"
    url = make_url(plain)
    if url.database == path and not url.query:
        return plain
    # With its driver named MLflow makes no folder of the literal, still quoted path.
    quoted = URL.create("sqlite+pysqlite", database=path).render_as_string()
    if make_url(quoted).database != path:  # SQLAlchemy 2.0
        raise UserError(f"a database cannot lie at {path}: it has a ? or %")
    return quoted


def sayable(path: Path) -> Path:
    """The path, where it can be printed in a line and recorded in a database.

    Raises:
        UserError: it has control characters, or bytes that are not UTF-8.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in str(path)):
        raise UserError(
            f"the path {str(path)!r} has control characters, or is not UTF-8: rename the folder"
        )
    return path


def shown(uri: str) -> str:
    """The URI without the password it may hold."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri
