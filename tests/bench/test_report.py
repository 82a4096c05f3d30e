"""The report of a synthetic store whose numbers are known."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.errors import UserError
from bench.report import collect, table
from bench.report.statistics import difference, half_width
from bench.report.verdict import verdict

START = datetime(2026, 11, 1, tzinfo=UTC)
KEYS = itertools.count()
HORIZON = 10


@dataclass
class FakeRun:
    run_id: str
    name: str
    started: datetime
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]


@dataclass
class FakeStore:
    """The reading side of `bench.tracking.Store`, in memory."""

    folder: Path
    runs: list[FakeRun] = field(default_factory=list)
    curves: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)

    def cells(self, suite: str) -> list[FakeRun]:
        mine = [run for run in self.runs if run.params["suite"] == suite]
        return sorted(mine, key=lambda run: run.started, reverse=True)

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return self.curves.get((run_id, metric), [])

    def artifact(self, run_id: str, path: str) -> Path | None:
        local = self.folder / run_id / path
        return local if local.exists() else None

    def add(
        self,
        model: str,
        mse: float | None,
        *,
        size: str = "small",
        seed: int = 0,
        status: records.Status = records.Status.DONE,
        baseline: bool = False,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> str:
        run_id = f"run{len(self.runs)}"
        label = model if size == "only" else f"{model}-{size}"
        measured = {} if mse is None else _metrics(mse, baseline)
        self.runs.append(
            FakeRun(
                run_id=run_id,
                name=f"{label}/moving_mnist/{seed}",
                started=START + timedelta(minutes=len(self.runs)),
                params=_params(model, size, seed) | (params or {}),
                tags=_tags(label, seed, status) | (tags or {}),
                metrics=measured | (metrics or {}),
            )
        )
        if mse is not None:
            self._add_curves(run_id, mse, baseline)
            self._add_showcase(run_id, mse)
        return run_id

    def _add_curves(self, run_id: str, mse: float, baseline: bool) -> None:
        for frame in range(1, HORIZON + 1):
            for metric, value in (("mse", mse * frame / 5.5), ("ssim", 1 - mse * frame)):
                self.curves.setdefault((run_id, f"horizon/{metric}"), []).append((frame, value))
        if not baseline:
            steps = range(10, 410, 10)
            self.curves[run_id, records.TRAIN_SECONDS] = [(s, s * 0.3) for s in steps]
            self.curves[run_id, records.TRAIN_LOSS] = [(s, mse + 1 / s) for s in steps]
            self.curves[run_id, records.VALIDATION_MSE] = [(s, mse + 2 / s) for s in steps[::10]]

    def _add_showcase(self, run_id: str, mse: float) -> None:
        rows, columns = np.mgrid[:64, :64]
        clips = np.stack(
            [
                np.exp(-((rows - 20 - t) ** 2 + (columns - 12 - 2 * t) ** 2) / 60) * 255
                for t in range(10 + HORIZON)
            ]
        ).astype(np.uint8)[None, :, None]
        clips = np.concatenate([clips, clips[:, :, :, ::-1]])
        truth = clips[:, 10:]
        (self.folder / run_id).mkdir(parents=True)
        np.savez(
            self.folder / run_id / records.SHOWCASE,
            context=clips[:, :10],
            truth=truth,
            prediction=(truth * (1 - 10 * mse)).astype(np.uint8),
            sequence=np.array([3, 7]),
        )


@dataclass
class Built:
    """The report of `example`, for tests that only read it."""

    store: FakeStore
    folder: Path
    page: str
    markdown: str
    sheet: pd.DataFrame


def _params(model: str, size: str, seed: int) -> dict[str, str]:
    return {
        "model": model,
        "size": size,
        "dataset": "moving_mnist",
        "seed": str(seed),
        "suite": "mnist",
        "budget": "120 s",
        "budget.seconds": "120",
        "device": "cpu",
        "precision": "32",
        "recipe": "published",
        "recipe.learning_rate": "0.001",
        "context_frames": "10",
        "horizon": str(HORIZON),
        "test_sequences": "100",
    }


def _tags(label: str, seed: int, status: records.Status) -> dict[str, str]:
    return {
        records.KIND: "cell",
        records.STATUS: status.value,
        records.CELL: f"{label}/{seed}/{next(KEYS)}",
        records.COMMAND: f"python -m bench cell --cell {label}/moving_mnist/{seed}",
        records.DEVICE: "Example CPU, 2 cores",
        records.COMMIT: "0123abcd",
        records.DATA_DIGEST: "feedc0de" * 4,
        "bench.torch": "2.13.0",
    }


def _metrics(mse: float, baseline: bool) -> dict[str, float]:
    quality = {
        "test/mse": mse,
        "test/mae": 2 * mse,
        "test/psnr": -10 * float(np.log10(mse)),
        "test/ssim": 1 - 5 * mse,
        "test/lpips": 3 * mse,
        "model/parameters": 0 if baseline else 7_440_000,
        "time/train_seconds": 0 if baseline else 120.4,
        "speed/predict_frames_per_second": 1e5 if baseline else 8 / mse,
        "memory/peak_bytes": 2**28 if baseline else 2**30,
    }
    return quality if baseline else quality | {"speed/train_samples_per_second": 1.5 / mse}


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return example(tmp_path / "artifacts")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    store = example(folder / "artifacts")
    page = report.build(store, "mnist", folder / "out")
    markdown, sheet = page.with_name("report.md"), page.with_name("table.csv")
    return Built(store, page.parent, page.read_text(), markdown.read_text(), pd.read_csv(sheet))


def example(folder: Path) -> FakeStore:
    store = FakeStore(folder)
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("mean_frame", 0.045, size="only", baseline=True)
    for seed, mse in enumerate((0.020, 0.021, 0.022)):
        store.add("predrnn", mse, seed=seed)
        store.add("convlstm", mse + 0.01, seed=seed)
    store.add("maxvit", 0.0399, tags={f"{records.NOT_MEASURED}lpips": "no <b>AlexNet</b> weights"})
    del store.runs[-1].metrics["test/lpips"]
    store.add(
        "maxvit",
        None,
        seed=1,
        status=records.Status.DIVERGED,
        tags={records.ERROR: "loss is NaN at step 40"},
    )
    store.add(
        "mine",
        None,
        size="only",
        status=records.Status.FAILED,
        tags={records.ERROR: "<script>alert('x')</script> a|b `c`", records.DATA_DIGEST: ""},
    )
    del store.runs[-1].tags[records.DATA_DIGEST]
    del store.runs[-1].tags[records.DEVICE]
    return store


def only_section(store: FakeStore) -> collect.Section:
    (section,) = collect.sections(collect.cells(store, "mnist"))
    return section


def printed(store: FakeStore) -> dict[str, table.Row]:
    rows = table.rows(table.summary(only_section(store)))
    return {f"{row.label} {row.seeds}": row for row in rows}


def entry(row: table.Row, name: str) -> table.Entry:
    return row.entries[[column.name for column in table.COLUMNS].index(name)]


def test_table_is_sorted_by_mse_and_keeps_what_did_not_finish(store: FakeStore) -> None:
    assert list(printed(store)) == [
        "predrnn-small 0 1 2",
        "convlstm-small 0 1 2",
        "maxvit-small 0",
        "mean_frame 0",
        "copy_last 0",
        "maxvit-small 1",
        "mine 0",
    ]


def test_figures_are_means_with_t_intervals(store: FakeStore) -> None:
    row = printed(store)["predrnn-small 0 1 2"]
    assert entry(row, "mse").text == "0.02100"
    assert entry(row, "mse").half_width == "± 0.00248"  # 4.3027 * 0.001 / sqrt(3)
    assert entry(row, "mse_over_copy_last").text == "0.420"
    assert entry(row, "parameters").text == "7.44 M"
    assert entry(row, "peak_bytes").text == "1,024"
    assert entry(printed(store)["maxvit-small 0"], "mse").half_width == ""


def test_best_is_marked_and_ties_share_it(store: FakeStore) -> None:
    rows = printed(store)
    marked = {name for name, row in rows.items() if row.done and entry(row, "ssim").best}
    assert marked == {"predrnn-small 0 1 2"}
    cheapest = {name for name, row in rows.items() if row.done and entry(row, "peak_bytes").best}
    assert cheapest == {"predrnn-small 0 1 2", "convlstm-small 0 1 2", "maxvit-small 0"}
    assert not any(entry(row, "parameters").best for row in rows.values() if row.done)


def test_missing_and_failed_figures_carry_their_reason(store: FakeStore) -> None:
    rows = printed(store)
    lpips = entry(rows["maxvit-small 0"], "lpips")
    assert (lpips.text, lpips.reason) == ("not measured", "no <b>AlexNet</b> weights")
    diverged = rows["maxvit-small 1"]
    assert diverged.status == "diverged"
    assert diverged.reason == "loss is NaN at step 40"
    assert diverged.command.endswith("maxvit-small/moving_mnist/1")
    assert all(entry.text == "" for entry in diverged.entries)


def test_newest_run_of_a_cell_counts(store: FakeStore) -> None:
    store.add("maxvit", 0.01, seed=1)
    row = printed(store)["maxvit-small 0 1"]
    assert entry(row, "mse").text == "0.02495"


def test_what_cannot_be_compared_has_its_own_section(store: FakeStore) -> None:
    store.add("convlstm", 0.03, params={"precision": "bf16"})
    store.add("convlstm", 0.02, size="published")
    store.add("convlstm", 0.09, tags={records.DATA_DIGEST: "other"})
    store.add("gpu", 0.01, tags={records.DEVICE: "Example GPU"}, params={"device": "cuda"})
    sections = collect.sections(collect.cells(store, "mnist"))
    assert [
        (section.device, section.precision, section.size, section.data_digest[:4])
        for section in sections
    ] == [
        ("Example GPU", "32", "small", "feed"),
        ("Example CPU, 2 cores", "32", "small", "othe"),
        ("Example CPU, 2 cores", "32", "published", "feed"),
        ("Example CPU, 2 cores", "bf16", "small", "feed"),
        ("Example CPU, 2 cores", "32", "small", "feed"),
    ]
    models = [set(section.cells["model"]) for section in sections]
    assert models[0] == {"gpu", "copy_last", "mean_frame"}
    assert models[1] == {"convlstm"}  # the baselines were measured on other data
    assert models[2] == {"convlstm", "mine", "copy_last", "mean_frame"}


def test_borrowed_baseline_shows_quality_but_no_cost(store: FakeStore) -> None:
    store.add("gpu", 0.01, tags={records.DEVICE: "Example GPU"}, params={"device": "cuda"})
    first = collect.sections(collect.cells(store, "mnist"))[0]
    rows = {row.label: row for row in table.rows(table.summary(first))}
    assert entry(rows["copy_last"], "mse").text == "0.05000"
    assert entry(rows["copy_last"], "predict_frames_per_second").text == "—"
    assert entry(rows["gpu-small"], "mse_over_copy_last").text == "0.200"


def test_verdict_says_what_the_numbers_say(store: FakeStore) -> None:
    section = only_section(store)
    said = verdict(section, table.summary(section))
    assert "predrnn-small predicts moving_mnist best" in said
    assert "test MSE 0.02100" in said
    assert "58 % below copy-last" in said
    assert "convlstm-small is 47.6 % behind (95 % interval 36.8 to 58.4 %, 3 and 3 seeds)" in said
    assert "All 3 trained models beat every baseline." in said
    assert "2 cells without a result" in said


def test_verdict_admits_what_it_cannot_tell(store: FakeStore) -> None:
    for seed, mse in enumerate((0.019, 0.021, 0.025)):
        store.add("close", mse, seed=seed)
    section = only_section(store)
    assert "cannot be told apart" in verdict(section, table.summary(section))
    store.runs = [run for run in store.runs if run.params["seed"] == "0"]
    section = only_section(store)
    assert "with so few seeds that may be chance" in verdict(section, table.summary(section))


def test_verdict_without_a_finished_model(store: FakeStore) -> None:
    store.runs = [run for run in store.runs if run.params["model"] in ("copy_last", "mine")]
    section = only_section(store)
    assert verdict(section, table.summary(section)).startswith("No trained model has finished")


def test_verdict_names_the_baseline_that_nothing_beats(store: FakeStore) -> None:
    for run in store.runs:
        if run.params["model"] == "mean_frame":
            run.metrics["test/mse"] = 0.001
    section = only_section(store)
    said = verdict(section, table.summary(section))
    assert "No trained model beats mean_frame (0.00100)." in said


def test_all_three_files_hold_the_same_numbers(built: Built) -> None:
    sheet = built.sheet.set_index(["label", "seeds"])
    assert sheet.loc[("predrnn-small", "0 1 2"), "mse"] == pytest.approx(0.021)
    assert sheet.loc[("predrnn-small", "0 1 2"), "mse_half_width"] == pytest.approx(0.00248414)
    assert sheet.loc[("maxvit-small", "0"), "not_measured"] == "lpips: no <b>AlexNet</b> weights"
    assert sheet.loc[("maxvit-small", "1"), "reason"] == "loss is NaN at step 40"
    for row in table.rows(table.summary(only_section(built.store))):
        assert row.label in built.page
        assert row.label in built.markdown
        for figure in row.entries:
            assert figure.text in built.page
            assert (f"**{figure.text}**" if figure.best else figure.text) in built.markdown
    assert re.search(r'class="figure best"\s+data-value="0.021[0-9]*"', built.page)
    assert "diverged: loss is NaN at step 40; run again: <code>python -m" in built.markdown


def test_user_text_is_escaped(built: Built) -> None:
    for written in (built.page, built.markdown):
        assert "<script>alert" not in written
        assert "<b>AlexNet" not in written
        assert "&lt;script&gt;alert" in written
    assert r"a\|b &#96;c&#96;" in built.markdown


def test_page_asks_for_nothing(built: Built) -> None:
    asked = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import\s+(\S+)', built.page)
    targets = {target for match in asked for target in match if target}
    assert targets
    assert all(target.strip("'\"").startswith(("data:", "#")) for target in targets)


def test_pictures_show_something(built: Built) -> None:
    pictures = sorted((built.folder / "plots").glob("*.png"))
    names = {picture.stem.removeprefix("1-moving_mnist-") for picture in pictures}
    assert names == {
        "loss",
        "validation-mse",
        "horizon-mse",
        "horizon-ssim",
        "training-speed",
        "prediction-speed",
        "frames-3",
        "frames-7",
    }
    for picture in pictures:
        pixels = matplotlib.image.imread(picture)[..., :3]
        assert pixels.std() > 0.02
        assert (pixels[:, [0, -1]] == 1).all()  # no label is cut off
        assert f"plots/{picture.name}" in built.markdown
    assert built.page.count("<svg") == len(pictures)


def test_strips_hold_the_stored_frames(built: Built) -> None:
    embedded = re.findall(r'data:image/png;base64,\s*([^"]+)', built.page)
    rows = [matplotlib.image.imread(io.BytesIO(base64.b64decode(data))) for data in embedded]
    with np.load(built.store.folder / "run0" / records.SHOWCASE) as stored:
        context, truth = stored["context"][0, 0, 0] / 255, stored["truth"][0, 0, 0] / 255
    corners = [row[:64, :64, 0] for row in rows]
    assert sum(np.allclose(corner, context, atol=1 / 255) for corner in corners) == 1
    assert sum(np.allclose(corner, truth, atol=1 / 255) for corner in corners) == 1


def test_provenance_says_what_is_shared_and_what_is_not(built: Built) -> None:
    page = re.sub(r"\s+", " ", built.page)
    assert page.count("<dt>torch</dt><dd>2.13.0</dd>") == 1
    assert "<dt>seed</dt><dd>2</dd>" in page
    assert "MLflow run run8" in page


def test_odd_names_stay_in_their_place(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("a$b$<i>", 0.02, params={"dataset": "../../away <i>"})
    text = report.build(store, "mnist", tmp_path / "out").read_text()
    assert "<i>" not in text.replace("<i></i>", "")
    assert "a$b$&lt;i&gt;-small" in text
    written = list(tmp_path.rglob("*.png"))
    assert written
    assert {path.parent for path in written} == {tmp_path / "out" / "plots"}


def test_only_baselines_make_a_report(store: FakeStore, tmp_path: Path) -> None:
    store.runs = store.runs[:2]
    text = report.build(store, "mnist", tmp_path).read_text()
    assert "No trained model has finished" in text
    assert "0.05000" in text


def test_unknown_suite_is_refused(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nothing'"):
        report.build(store, "nothing", tmp_path)


def test_the_same_store_gives_the_same_page(store: FakeStore, tmp_path: Path) -> None:
    first = report.build(store, "mnist", tmp_path / "a").read_text()
    assert report.build(store, "mnist", tmp_path / "b").read_text() == first


def test_terminal_gets_the_same_tables_by_title(store: FakeStore) -> None:
    keys = {run.tags[records.CELL] for run in store.runs}
    (title,) = tables = report.tables(store, "mnist", keys)
    assert title.startswith("moving_mnist, small models · 10 → 10 frames · 120 s of training")
    assert tables[title] == list(printed(store).values())
    assert report.tables(store, "nothing", keys) == {}


def test_terminal_gets_only_tables_of_the_cells_it_asks_for(store: FakeStore) -> None:
    longer = {"budget": "600 s", "budget.seconds": "600"}
    store.add("convlstm", 0.02, seed=7, params=longer)
    baselines = [run.tags[records.CELL] for run in store.runs[:2]]
    newest = store.runs[-1].tags[records.CELL]
    (title,) = report.tables(store, "mnist", [newest, *baselines])
    assert "600 s of training" in title
    assert len(report.tables(store, "mnist", baselines)) == 2


def test_cell_skipped_before_its_task_was_known_joins_its_table(store: FakeStore) -> None:
    store.add("late", None, status=records.Status.SKIPPED, tags={records.ERROR: "no data"})
    run = store.runs[-1]
    for name in ("context_frames", "horizon"):
        del run.params[name]
    del run.tags[records.DATA_DIGEST]
    assert printed(store)["late-small 0"].status == "skipped"


def test_torch_is_not_imported() -> None:
    listing = "import json, sys, bench.report; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert "bench.report.page" in loaded
    assert "torch" not in loaded


def test_intervals_cover_what_they_promise() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(1.0, 0.1, (2000, 2, 3))
    covered = np.mean([abs(a.mean() - 1) <= half_width(a) for a, _ in samples])
    assert 0.935 < covered < 0.965
    told_apart = np.mean([not low <= 0 <= high for low, high in (difference(*s) for s in samples)])
    assert told_apart < 0.06
    assert np.isnan(half_width([1.0]))
    assert difference([2.0, 2.0], [1.0, 1.0]) == (1.0, 1.0)
