"""What the report says of pairs of models, and from which stored scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.records import Measure
from bench.report import table
from bench.report.cells import cell_table
from bench.report.scores import SequenceScores
from bench.report.section import sections
from bench.report.statistics.clusters import FEW, Clusters
from bench.report.statistics.jackknife import POINTS, RELATIVE, Difference, Pairs
from bench.report.statistics.significance import neighbours, paired, sentence, written
from bench.score.metrics import RECORDED
from tests.bench.report.report_store import FakeStore, example, only_section

MSE, SSIM = RECORDED["prediction"]["mse"], RECORDED["prediction"]["ssim"]
TOP1 = RECORDED["recognition"]["video_top1"]
BOTH = ("PredRNN", "ConvLSTM")
NONE = "no interval"


def pair(
    ours: list[float],
    theirs: list[float],
    measure: Measure = MSE,
    sequences: int = 40,
    *,
    fixed: tuple[str, ...] = (),
    clusters: Clusters | None = None,
) -> Pairs:
    """PredRNN and ConvLSTM with these means of their seeds, over sequences that vary by half."""
    vary = np.linspace(0.5, 1.5, sequences)
    tremble = 1 + 0.1 * np.resize([1, -1, -1, 1], sequences)
    columns = {("PredRNN", seed): mean * vary for seed, mean in enumerate(ours)}
    columns |= {("ConvLSTM", seed): mean * vary * tremble for seed, mean in enumerate(theirs)}
    scale = POINTS if measure is TOP1 else RELATIVE
    return Pairs(pd.DataFrame(columns), scale, fixed=fixed, clusters=clusters, fewest=FEW)


PERSONS = Clusters(np.arange(40) // 5, "person")


@pytest.mark.parametrize(
    ("pairs", "measure", "facts"),
    [
        (
            pair([0.087, 0.088, 0.089], [0.1, 0.1, 0.1]),
            MSE,
            ("PredRNN beats ConvLSTM on MSE", "12 % lower", "8 to 16 %", "3 seeds, 40 sequences"),
        ),
        (
            pair([0.1, 0.101, 0.102], [0.08, 0.08]),
            MSE,
            ("ConvLSTM beats PredRNN on MSE", "21 % lower", "17 to 24 %", "2 and 3 seeds"),
        ),
        (
            pair([0.88, 0.89, 0.87], [0.8, 0.8]),
            SSIM,
            ("PredRNN beats ConvLSTM on SSIM", "10 % higher", "5 to 15 %", "3 and 2 seeds"),
        ),
        (
            pair([0.10, 0.11, 0.12], [0.10, 0.11, 0.13]),
            MSE,
            ("cannot be told apart", "PredRNN 3 % lower", "to 26 %", "3 seeds"),
        ),
        (
            pair([0.08], [0.1, 0.1]),
            MSE,
            ("PredRNN has the better MSE", "20 % lower than ConvLSTM", "1 and 2 seeds", NONE),
        ),
        (
            pair([0.08, 0.081, 0.082], [0.1], fixed=("ConvLSTM",)),
            MSE,
            ("PredRNN beats ConvLSTM on MSE", "19 % lower", "15 to 23 %", "3 seeds"),
        ),
        (
            pair([0.0995], [0.1], sequences=40_000, fixed=BOTH),
            MSE,
            ("PredRNN beats ConvLSTM on MSE", "0.5 % lower", "0.4 to 0.6 %", "40,000 sequences"),
        ),
        (
            pair([0.1], [0.1], fixed=BOTH),
            MSE,
            ("cannot be told apart on MSE", "PredRNN 0 % lower", "-3 to 3 %"),
        ),
        (
            pair([0.5, 0.5], [0.4, 0.4], TOP1),
            TOP1,
            ("PredRNN beats", "10 points higher", "8 to 12 points", "2 seeds"),
        ),
        (
            pair([0.08], [0.1], fixed=BOTH, clusters=PERSONS),
            MSE,
            ("PredRNN has the better MSE", "20 % lower", "40 sequences of only 8 persons", NONE),
        ),
        (
            pair([0.08], [0.1], fixed=BOTH, clusters=Clusters(np.zeros(40, np.int64), "person")),
            MSE,
            (
                "PredRNN has the better MSE",
                "20 % lower than ConvLSTM",
                "40 sequences of only 1 person",
                NONE,
            ),
        ),
        (
            pair([0.08], [0.1], fixed=BOTH, clusters=Clusters.single(40, unrecorded=True)),
            MSE,
            ("PredRNN beats ConvLSTM on MSE", "40 sequences, clusters not recorded"),
        ),
    ],
)
def test_sentences_say_who_is_better_by_how_much_and_how_sure_that_is(
    pairs: Pairs, measure: Measure, facts: tuple[str, ...]
) -> None:
    said = sentence(pairs, "PredRNN", "ConvLSTM", measure)
    assert [fact for fact in facts if fact not in said] == []
    assert ("interval" in said.removesuffix(NONE)) == (NONE not in facts)


class CountingStore(FakeStore):
    """Knows how often a table was asked for, and of which run."""

    asked: list[str]

    def artifact(self, run_id: str, path: str) -> Path | None:
        if path == records.PER_FRAME_TABLE:
            self.asked.append(run_id)
        return super().artifact(run_id, path)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """The example store, which counts."""
    store = CountingStore(tmp_path / "artifacts", example(tmp_path / "artifacts").runs)
    store.asked = []
    return store


SAID = [
    "predrnn-small beats convlstm-small on MSE: 32 % lower, 95 % interval 19 to 43 %, "
    "3 seeds, 20 sequences",
    "convlstm-small beats mean_frame on MSE: 31 % lower, 95 % interval 16 to 44 %, "
    "3 seeds, 20 sequences",
    "mean_frame beats copy_last on MSE: 10 % lower, 95 % interval 10 to 10 %, 20 sequences",
    "All these intervals hold together with 95 % confidence, over 20 sequences",
    "One seed, so no interval, only figures: maxvit-small",
]


def said_of(store: FakeStore, suite: str = "mnist") -> list[str]:
    section = only_section(store, suite)
    scores = SequenceScores(store)
    pairs = paired(section, scores.of(section), scores.clusters(section))
    return [*neighbours(section, table.summary(section), pairs)]


def test_each_model_is_held_against_the_next(store: CountingStore) -> None:
    assert said_of(store) == SAID


def test_scores_are_means_over_frames_by_cell(store: CountingStore) -> None:
    scores = SequenceScores(store).of(only_section(store))
    assert list(scores["predrnn-small"].columns) == [2, 1, 0]
    assert scores["predrnn-small", 2].mean() == pytest.approx(0.022)
    assert scores["predrnn-small", 2].iloc[0] == pytest.approx(0.011)
    assert "mine" not in scores


def test_a_table_is_read_once_where_its_cell_stands_in_two_sections(store: CountingStore) -> None:
    run = store.add("predrnn", 0.02, params={"budget": "600 s"})
    store.keep_scores(run, np.full((20, 10), 0.02))
    both, reader = sections(cell_table(store, "mnist")), SequenceScores(store)
    assert [("copy_last", 0) in reader.of(section) for section in both] == [True, True]
    assert len(store.asked) == len(set(store.asked))


def test_cells_without_usable_scores_are_named(store: CountingStore) -> None:
    broken = np.full((20, 10), 0.02)
    broken[3, 4] = np.nan
    store.keep_scores("run8", broken)  # maxvit's
    (store.folder / "run0" / records.PER_FRAME_TABLE).unlink()  # copy_last's
    said = said_of(store)
    assert "convlstm-small beats mean_frame" in said[1]
    assert said[-1] == "Not compared, for lack of scores by sequence: maxvit-small, copy_last"


def test_a_store_without_tables_says_nothing(tmp_path: Path) -> None:
    store = example(tmp_path)
    for run in tmp_path.rglob(records.PER_FRAME_TABLE):
        run.unlink()
    assert said_of(store) == []


def test_videos_named_right_are_compared_in_points(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    truth = ["run", "jump"] * 50
    store.add_classifier("good", truth, truth)
    store.add_classifier("poor", ["run"] * 100, truth)
    assert said_of(store, "actions") == [
        "One seed, so no interval, only figures: good-small, poor-small"
    ]
    for seed in (1, 2):
        store.add_classifier("good", truth, truth, seed=seed)
        store.add_classifier("poor", ["run"] * 100, truth, seed=seed)
    first = said_of(store, "actions")[0]
    assert first.startswith("good-small beats poor-small on top-1 per video: 50 points higher")


@pytest.mark.usefixtures("undrawn")
def test_report_folds_the_sentences_away(store: CountingStore, tmp_path: Path) -> None:
    page = report.build(store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    folded = page.split('<details class="sure">')[1].split("</details>")[0]
    assert [line[4:-5] for line in map(str.strip, folded.splitlines()) if "<li>" in line] == SAID
    folded = markdown.split("<summary>How sure</summary>")[1].split("</details>")[0]
    assert [line[2:] for line in folded.splitlines() if line] == SAID


@pytest.mark.parametrize(("dataset", "unrecorded"), [("kth", True), ("moving_mnist", False)])
def test_clusters_come_from_the_store_and_tables_without_them_are_read(
    tmp_path: Path, dataset: str, unrecorded: bool
) -> None:
    store = FakeStore(tmp_path)
    tags = {records.CLUSTER: "person"}
    for model, mse in (("mean_frame", 0.04), ("copy_last", 0.05)):
        params = {"dataset": dataset}
        store.add(model, mse, size="only", baseline=True, params=params, tags=tags)
    tables = [tmp_path / run.run_id / records.PER_FRAME_TABLE for run in store.runs]
    for path in tables:
        frames = pd.read_parquet(path)
        frames.assign(cluster=frames["sequence"] // 5).to_parquet(path)
    assert "only 4 persons" in said_of(store)[0]
    for path in tables:
        pd.read_parquet(path).drop(columns="cluster").to_parquet(path)
    assert said_of(store)[0].endswith("20 sequences" + ", clusters not recorded" * unrecorded)


def test_a_bound_of_fifty_digits_is_told_in_short() -> None:
    assert written(Difference(-3.2, -97.0, 1e49), -1) == ("3", "less than -999", "97")
    assert written(Difference(0.0, -1.2e3, 5e4), 1)[1:] == ("less than -999", "more than 999")
    assert written(Difference(12.0, 3.25, 20.0), 1) == ("12", "3", "20")
