"""The environment that a cell records: what can explain a figure, and no secret."""

import json

import pytest
import torch

from bench.run.environment import environment


def test_it_has_the_packages_threads_and_what_was_chosen() -> None:
    found = environment("cpu", kernels="winograd 5x5: 8")
    assert f"torch=={torch.__version__}" in found["packages"]
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["chosen"] == {"kernels": "winograd 5x5: 8"}
    assert found["cpu"]["model"]
    assert json.loads(json.dumps(found)) == found


def test_variables_that_change_arithmetic_are_kept_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("TORCH_HUB_TOKEN", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    found = environment("cpu")
    assert found["variables"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "secret" not in json.dumps(found)
