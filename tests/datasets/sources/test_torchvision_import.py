"""Cases that succeed run in a process of their own: an import can be tried only once in one."""

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.sources.torchvision_import import import_torchvision


def run(program: str, *path: Path) -> str:
    """What `program` prints, with the folders of `path` first where modules are looked for."""
    lines = ["import sys", f"sys.path[:0] = {[str(folder) for folder in path]!r}", program]
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def fake_torchvision(folder: Path, source: str) -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(source)
    return folder


IMPORT = "from datasets.sources.torchvision_import import import_torchvision\n"


def test_it_works_also_after_somebody_elses_failed_import() -> None:
    printed = run(
        IMPORT
        + """
try:
    import torchvision
except RuntimeError:
    pass
torchvision = import_torchvision()
assert import_torchvision() is torchvision
import torch, torchvision.datasets, torchvision.models
net = torchvision.models.squeezenet1_1(weights=None, num_classes=3).eval()
print(tuple(net(torch.zeros(1, 3, 32, 32)).shape), torchvision.datasets.MNIST.__name__)
"""
    )
    assert printed.strip() == "(1, 3) MNIST"


def test_an_extension_that_does_not_load_is_cured_by_one_more_import(tmp_path: Path) -> None:
    folder = fake_torchvision(
        tmp_path,
        """
import torch
@torch.library.register_fake("torchvision::nms")
def fake_nms(dets, scores, iou_threshold): return dets
@torch.library.register_fake("torchvision::qnms")
def fake_qnms(dets, scores, iou_threshold): return dets
cured = True
""",
    )
    assert run(IMPORT + "print(import_torchvision().cured)", folder).strip() == "True"


def test_another_error_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(fake_torchvision(tmp_path, "raise RuntimeError('disk on fire')"))
    with pytest.raises(RuntimeError, match="disk on fire"):
        import_torchvision()
