"""Files are replaced in one step, also where two processes write the same one at once."""

import subprocess
import sys
from pathlib import Path

from bench.atomic import replacing
from tests.bench.conftest import environment

SLOW_WRITER = """
import sys
from pathlib import Path
from bench.atomic import replacing

with replacing(Path(sys.argv[1]), shared=True) as new, new.open("wb") as file:
    file.write(b"slow " * 100)
    file.flush()
    print("half", flush=True)
    sys.stdin.read(1)
    file.write(b"slow " * 100)
"""


def test_two_processes_that_write_a_shared_file_at_once_each_write_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    slow = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert slow.stdout is not None
    assert slow.stdout.readline() == b"half\n"
    with replacing(path, shared=True) as new:
        new.write_bytes(b"quick")
    assert path.read_bytes() == b"quick"
    slow.communicate(b".", timeout=60)
    assert slow.returncode == 0
    assert path.read_bytes() == b"slow " * 200
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
