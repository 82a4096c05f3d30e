"""MLflow's pages: their address is said when a browser finds something there."""

import subprocess
import sys

from bench.store.ui import _answers
from tests.bench.servers import free_port

SERVER = (
    "import http.server, sys, time; time.sleep(0.5);"
    "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])),"
    " http.server.BaseHTTPRequestHandler).serve_forever()"
)


def _started(code: str, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(port)], stderr=subprocess.DEVNULL)


def test_a_server_that_starts_late_is_waited_for() -> None:
    port = free_port()
    with _started(SERVER, port) as server:
        try:
            assert _answers(server, "127.0.0.1", port)
        finally:
            server.kill()


def test_a_server_that_ended_is_not() -> None:
    port = free_port()
    with _started("pass", port) as server:
        assert not _answers(server, "127.0.0.1", port)
