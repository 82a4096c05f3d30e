"""MLflow's own pages on the store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from bench.errors import UserError
from bench.store.address import is_server, shown

HOST, PORT = "127.0.0.1", 5000  # unless asked otherwise
LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # background jobs triple the start-up time
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def serve(uri: str, host: str, port: int) -> int:
    """Serve the pages until interrupted; for a remote store, print its own address instead.

    Raises:
        UserError: nothing can be served at that host and port.
    """
    if is_server(uri):
        sys.stdout.write(f"this store has its own pages: open {shown(uri)}\n")
        return 0
    _check_free(host, port)
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address]
    with subprocess.Popen(command, env=LIGHT | os.environ) as pages:
        signal.signal(signal.SIGTERM, lambda *_: pages.terminate())
        try:
            code = pages.wait()
        except KeyboardInterrupt:  # which the pages get, too
            return 0
    return code if code >= 0 else 128 - code


def _check_free(host: str, port: int) -> None:
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
