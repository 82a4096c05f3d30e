"""Every trained model on a GPU, without one: no host in the step, precisions, kernels counted.

Two processes take a step of each on fake CUDA; see `python -m tests.fake_cuda`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.suite import catalogue
from tests.fake_cuda import guard, table
from tests.made_once import made_once

REPOSITORY = Path(__file__).parents[2]
MODELS = [name for name, model in catalogue.all_models().items() if "small" in model.sizes]
WHY_NOT = guard.missing()

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.timeout(900),  # half a minute of work, that all of them wait for
]

Steps = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Of each model, what a step does in each precision; told once, as all workers wait for it."""

    def tell(folder: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.fake_cuda"]
        children = [
            subprocess.Popen(
                [*command, *some],
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for some in (MODELS[::2], MODELS[1::2])
        ]
        found: Steps = {}
        for child in children:
            out, error = child.communicate()
            assert child.returncode == 0, error
            found |= json.loads(out)
        (folder / "steps.json").write_text(json.dumps(found), encoding="utf-8")

    folder = made_once(tmp_path_factory, "fake_cuda", tell)
    told: Steps = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("model", MODELS)
def test_step_stays_on_the_device_and_in_its_precision(steps: Steps, model: str) -> None:
    assert [fault for step in steps[model] for fault in step["faults"]] == []


@pytest.mark.parametrize("model", MODELS)
def test_step_launches_no_more_kernels_than_recorded(steps: Steps, model: str) -> None:
    text = table.TABLE.read_text(encoding="utf-8")
    if table.version(text) != torch.__version__:
        pytest.skip(f"counted by PyTorch {table.version(text)}, this is {torch.__version__}")
    known = table.recorded(text)[model, "small"]
    launched = dict(
        zip(table.PRECISIONS, (step["launches"] for step in steps[model]), strict=False)
    )
    more = {
        f"{part}, {precision}": f"{known[precision][part]} -> {launched[precision][part]}"
        for precision in table.PRECISIONS
        for part in table.PARTS
        if launched[precision][part] > known[precision][part]
    }
    assert not more, f"where that is meant, `{table.COMMAND}` records it"


def test_the_table_has_every_trained_model_and_no_other() -> None:
    text = table.TABLE.read_text(encoding="utf-8")
    expected = {(model, size) for model in MODELS for size in ("small", "published")}
    assert set(table.recorded(text)) == expected
