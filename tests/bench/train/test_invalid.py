"""A cell of a model that breaks a rule is invalid, with the reason; hidden state is told of."""

from pathlib import Path

from bench import records
from bench.store.mlflow import Store
from tests.bench.conftest import SUITE, Bench

MODELS = """
import torch
from mine import Tiny

class Learns(Tiny):
    def forward(self, context, horizon):
        if not self.training:
            self.filter.bias.data += 0.01
        return super().forward(context, horizon)

class Remembers(Tiny):
    seen = 0.0

    def forward(self, context, horizon):
        if not self.training:
            self.seen += float(context.mean())
        return super().forward(context, horizon) + self.seen

class Bright(Tiny):
    def forward(self, context, horizon):
        frames = context[:, -1:].expand(-1, horizon, -1, -1, -1)
        return frames + 0 * super().forward(context, horizon) if self.training else 255 * frames

class Counts(Tiny):
    steps = 0

    def training_loss(self, batch):
        self.steps += 1
        return super().training_loss(batch) * self.steps
"""
ENDS = {
    "Learns": ("invalid", "the model changed filter.bias while held-out clips were evaluated"),
    "Remembers": ("invalid", "so the model remembers between calls: it changes seen"),
    "Bright": ("invalid", "divided by 255: frames are in [0,1]"),
    "Counts": ("done", ""),
}


def test_a_model_that_breaks_a_rule_is_invalid_and_says_why(
    bench: Bench, tmp_path: Path, user_models: Path
) -> None:
    (tmp_path / "odd.py").write_text(MODELS, encoding="utf-8")
    listed = ", ".join(f'"{tmp_path}/odd.py:{name}"' for name in ENDS)
    text = SUITE.format(models=user_models).replace(f'"copy_last", "{user_models}:Tiny"', listed)
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    done = bench("run", "--suite", tmp_path / "own.toml", "--device", "cpu", report=False)
    assert done.returncode == 1, done.stderr
    store = Store(f"sqlite:///{tmp_path}/results/mlflow.db")
    runs = {run.params["model"]: run for run in store.cells("own")}
    for name, (status, reason) in ENDS.items():
        assert runs[name].tags[records.STATUS] == status, name
        assert reason in runs[name].tags[records.ERROR]
    assert "training changes steps" in done.stdout
