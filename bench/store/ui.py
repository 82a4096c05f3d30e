"""MLflow's own pages on the store, and its server for cells that run elsewhere."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.store.address import is_server, shown

HOST, PORT = "127.0.0.1", 5000  # unless asked otherwise
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # background jobs triple the start-up time
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def address(uri: str, host: str, port: int) -> str:
    """Where the pages of the store at `uri` are: a server's own, or those that `show` serves."""
    if is_server(uri):
        return shown(uri)
    here = HOST if host in EVERYWHERE else host
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def show(uri: str, host: str, port: int, pages: Mapping[str, str]) -> int:
    """Serve the pages until interrupted; of a remote store, which has its own, print where.

    `pages` are the addresses of the suites' pages, the one to begin with first.

    Raises:
        UserError: nothing can be served at that host and port.
    """
    first, *others = pages.items() or [("", address(uri, host, port))]
    said = "\n".join([f"open {first[1]}", *(f"{suite}: {page}" for suite, page in others)])
    if is_server(uri):
        sys.stdout.write(f"this store has its own pages: {said}\n")
        return 0
    return _run("ui", uri, host, port, {}, said)


def serve(uri: str, artifacts: Path, host: str, port: int, names: Sequence[str] = ()) -> int:
    """Serve the database `uri` to cells elsewhere, artifacts through the server, until interrupted.

    Args:
        uri: of the database, which is there.
        artifacts: the folder that takes the artifacts.
        host: the address to listen at.
        port: the port to listen at.
        names: by which others may call this machine, beside those it knows; * for any.

    Raises:
        UserError: nothing can be served at that host and port.
    """
    from mlflow.server.security_utils import get_default_allowed_hosts

    own = socket.gethostname() if host in EVERYWHERE else host
    known = dict.fromkeys([own, socket.gethostname(), socket.getfqdn(), *names])
    allowed = [*get_default_allowed_hosts(), *known, *(f"{name}:*" for name in known)]
    settings = {
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts.absolute().as_uri(),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed),
    }
    said = f"cells record here with --tracking-uri {address('', own, port)}"
    return _run("server", uri, host, port, settings, said)


def _run(verb: str, uri: str, host: str, port: int, settings: Mapping[str, str], said: str) -> int:
    """The exit code of `mlflow VERB`, once interrupted; `said` is printed once it answers."""
    check_free(host, port)
    _say("starting MLflow, about 10 s")
    words = [verb, "--host", host, "--port", str(port), "--workers", "1"]
    # A database's password is not for the list of processes.
    ours = LIGHT | os.environ | {**settings} | {"MLFLOW_BACKEND_STORE_URI": uri}
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # MLflow's start answers by a traceback
    with subprocess.Popen([sys.executable, "-m", "mlflow", *words], env=ours) as pages:
        signal.signal(signal.SIGTERM, lambda *_: pages.terminate())
        try:
            signal.signal(signal.SIGINT, usual)
            if _answers(pages, HOST if host in EVERYWHERE else host, port):
                _say(said)
            code = pages.wait()
        except KeyboardInterrupt:
            pages.terminate()
            return 0
    check_free(host, port)  # MLflow ends with 0, too, where another took the port as it started
    return code if code >= 0 else 128 - code


def _answers(pages: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """True once the server answers; False where it has ended before."""
    while pages.poll() is None:
        answer = http.client.HTTPConnection(host, port, timeout=5)
        try:
            answer.request("GET", "/health")
            answer.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        else:
            return True
        finally:
            answer.close()
    return False


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def check_free(host: str, port: int) -> None:
    """Make sure that a server could listen there.

    Raises:
        UserError: it could not; the message says why.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"there is no port {port}: choose one from 1024 to 65535")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no such host"
        raise UserError(
            f"cannot serve at {host}, port {port}: {why}: choose another --port or --host"
        ) from error
