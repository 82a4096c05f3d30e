"""The report of classifiers: their own columns, verdict, confusions and classes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.report import classes, table
from bench.report.artifacts import Artifacts
from bench.report.cells import cell_table
from bench.report.classes import named_videos
from bench.report.confidence import Confidence
from bench.report.page import Chapter
from bench.report.section import Section, sections
from tests.bench.report.report_store import FakeStore, only_section, verdict_of

TRUTH = ["Biking", "Biking", "Diving", "Diving", "Golf & <b>", "Golf & <b>", "Golf & <b>", "Polo"]
ALWAYS = ["Golf & <b>"] * 8
GOOD = ["Biking", "Biking", "Diving", "Biking", "Golf & <b>", "Golf & <b>", "Polo", "Polo"]
POOR = ["Diving", "Biking", "Biking", "Biking", "Golf & <b>", "Biking", "Biking", "Polo"]


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    store = FakeStore(tmp_path / "artifacts")
    store.add_classifier("poor", POOR, TRUTH)
    store.add_classifier("good", GOOD, TRUTH)
    store.add_classifier("class_frequency", ALWAYS, TRUTH, baseline=True)
    return store


@pytest.fixture
def section(store: FakeStore) -> Section:
    return only_section(store, "actions")


def content(section: Section) -> table.Table:
    return table.printed(section, table.summary(section))


def test_table_ranks_by_videos_and_prints_per_cent(section: Section) -> None:
    printed = content(section)
    assert [row.label for row in printed.rows] == ["good-small", "poor-small", "class_frequency"]
    headings = [column.heading for column in printed.columns]
    assert headings[:5] == [
        "top-1 per video (%) ↑",
        "top-5 per video (%) ↑",
        "top-1 per clip (%) ↑",
        "top-5 per clip (%) ↑",
        "cross-entropy ↓",
    ]
    assert not any("MSE" in heading for heading in headings)
    good, _, baseline = printed.rows
    assert [entry.text for entry in good.entries[:5]] == ["75.0", "87.5", "70.0", "82.5", "1.250"]
    waiting = [column.name for column in printed.columns].index("waiting_share")
    assert (good.entries[waiting].text, baseline.entries[waiting].text) == ("3.0", "—")


def test_setting_and_verdict_speak_of_recognition(store: FakeStore, section: Section) -> None:
    assert section.setting.startswith("clips of 16 frames · 4 classes · 120 s of training · ")
    said = verdict_of(store, section)
    for words in (
        "On top-1 per video good-small has the best figure of 2 trained models: 75.0 % of the test",
        "after 120 s of training on actions",
        "against 37.5 % by class_frequency",
        "good-small has the better top-1 per video, 38 points higher than poor-small, 1 seed",
        "1 of 2 trained models has a better top-1 per video than the baseline, by figures alone",
    ):
        assert words in said


def test_models_of_equal_figures_share_the_best_place(store: FakeStore) -> None:
    store.add_classifier("other", GOOD[::-1], TRUTH[::-1])
    said = verdict_of(store, only_section(store, "actions"))
    pair = "other-small (75.0 % of the test videos named right) and good-small (75.0 %"
    assert f"On top-1 per video {pair}" in said
    assert "share the best place of 3 trained models" in said
    assert "have the same top-1 per video, 1 seed, only 8 sequences: no interval." in said
    assert " 0 points" not in said


def test_verdict_of_several_seeds_gives_the_interval_in_points(store: FakeStore) -> None:
    many = 20 * TRUTH
    for seed in range(3):
        store.add_classifier("poor", 20 * POOR, many, seed=seed)
        store.add_classifier("good", 20 * GOOD, many, seed=seed)
    section = only_section(store, "actions")
    said = verdict_of(store, section)
    assert "good-small beats poor-small on top-1 per video: 38 points higher, " in said
    assert "points, 3 seeds, 160 sequences." in said


def test_tasks_never_share_a_section(store: FakeStore) -> None:
    store.add("convlstm", 0.02, params={"dataset": "actions", "suite": "actions"})
    found = sections(cell_table(store, "actions"))
    assert [(section.task, set(section.cells["model"])) for section in found] == [
        ("prediction", {"convlstm"}),
        ("recognition", {"good", "poor", "class_frequency"}),
    ]
    names = [{column.name for column in content(section).columns} for section in found]
    assert "mse" in names[0] - names[1]
    assert "video_top1" in names[1] - names[0]


def test_missing_top5_says_why(store: FakeStore) -> None:
    for run in store.runs:
        del run.metrics["test/video_top5"]
        run.tags[f"{records.NOT_MEASURED}video_top5"] = "4 classes"
    section = only_section(store, "actions")
    printed = content(section)
    assert (printed.rows[0].entries[1].text, printed.rows[0].entries[1].reason) == (
        "not measured",
        "4 classes",
    )
    chapter = Chapter(section, table.summary(section), (), Confidence("low", ()), plots=[])
    assert chapter.notices == ["top-5 per video not measured for some cells: 4 classes"]


def test_matrix_has_a_row_for_each_truth_over_all_seeds(store: FakeStore) -> None:
    store.add_classifier("poor", GOOD, TRUTH, seed=1)
    named = named_videos(Artifacts(store), only_section(store, "actions"))
    poor = named[named["label"] == "poor-small"]
    shares = classes.matrix(poor, ["Biking", "Diving", "Golf & <b>", "Hockey", "Polo"])
    assert np.allclose(shares[0], [3 / 4, 1 / 4, 0, 0, 0])
    assert np.allclose(shares[2], [2 / 6, 0, 3 / 6, 0, 1 / 6])
    assert np.isnan(shares[3]).all()  # no video of this class


def test_classes_are_counted_and_none_is_marked_for_no_interval_tells(
    store: FakeStore, section: Section
) -> None:
    found = classes.class_table(named_videos(Artifacts(store), section))
    assert found is not None
    assert found.models == ("good-small", "poor-small")
    assert [(row.name, row.videos) for row in found.rows] == [
        ("Biking", 2),
        ("Diving", 2),
        ("Golf & <b>", 3),
        ("Polo", 1),
    ]
    texts = [[entry.text for entry in row.entries] for row in found.rows]
    assert texts == [["100.0", "50.0"], ["50.0", "0.0"], ["66.7", "33.3"], ["100.0", "100.0"]]
    marked = [[entry.best for entry in row.entries] for row in found.rows]
    assert marked == [[False, False]] * 4


def test_report_holds_confusions_and_classes(store: FakeStore, tmp_path: Path) -> None:
    page = report.build(store, "actions", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    names = {path.stem for path in (tmp_path / "out" / "plots").glob("*.png")}
    assert names == {
        f"1-actions-{name}"
        for name in (
            "loss",
            "validation-cross_entropy",
            "validation-cross_entropy-by-steps",
            "training-speed",
            "recognition-speed",
            "confusion-1",
            "confusion-2",
        )
    }
    for name in names:
        assert f"plots/{name}.png" in markdown
    assert "What good-small said" in page
    assert "What class_frequency said" not in page
    assert "<b>" not in page.replace("<body>", "")
    assert "| Golf &amp; &lt;b&gt; | 3 | 66.7 | 33.3 |" in markdown
    assert "nextframe · video recognition under one budget" in page
    sheet = pd.read_csv(tmp_path / "out" / "table.csv").set_index("label")
    assert sheet.loc["good-small", "video_top1"] == 0.75
    assert "mse" not in sheet


def test_many_classes_show_the_hardest_ten_and_hide_the_rest(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    names = [f"class {number:03}" for number in range(174)]
    truth = names * 2
    said = [name if number >= 12 else names[0] for number, name in enumerate(names)] + names
    store.add_classifier("vgg3d", said, truth)
    page = report.build(store, "actions", tmp_path / "out").read_text(encoding="utf-8")
    view, hidden = page.split("<summary>All 174 classes", 1)
    shown = re.findall(r"class \d\d\d", view)
    assert shown == names[1:11]
    assert re.findall(r"class \d\d\d", hidden)[:174] == names  # and not beside the matrix
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "The hardest 10 of 174 classes" in markdown
    assert markdown.count("| class 001 | 2 | 50.0 |") == 2
    assert markdown.index("<summary>All classes") < markdown.index("| class 173 |")
