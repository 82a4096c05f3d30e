"""MLflow's own pages on the store."""

from __future__ import annotations

import os
import subprocess
import sys

HOST, PORT = "127.0.0.1", 5000  # unless asked otherwise
LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # background jobs triple the start-up time
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def serve(uri: str, host: str, port: int) -> int:
    """Serve the pages until interrupted; for a remote store, print its own address instead."""
    if uri.startswith(("http://", "https://")):
        sys.stdout.write(f"this store has its own pages: open {uri}\n")
        return 0
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address]
    try:
        return subprocess.run(command, env=LIGHT | os.environ, check=False).returncode
    except KeyboardInterrupt:
        return 0
