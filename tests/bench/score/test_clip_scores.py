from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor

from bench import records
from bench.score.clip_scores import ClipScores, score
from bench.score.measure import measure
from bench.score.metrics import RECORDED
from bench.train.held_out import HeldOut
from bench.train.task import task_of
from datasets.contract import Spec

CLASSES = ("run", "walk", "jump", "swim", "fly", "rest")
TASK = task_of("recognition", Spec((1, 2, 3), 4, 0, classes=CLASSES))


class Split:
    """Random clips; three of each video, but for the last, which has one."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (10, 4, 1, 2, 3), generator=generator).byte()
        self.videos = torch.tensor([7, 7, 7, 2, 2, 2, 9, 9, 9, 4])
        self.labels = torch.tensor([5, 5, 5, 0, 0, 0, 1, 1, 1, 0])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self.pixels[window]


def look(clips: Tensor) -> Tensor:
    """Logits [B,6]: the pixels of the mean frame."""
    return 9 * clips.mean(1).flatten(1)


def run(count: int = 10, batch_size: int = 4) -> ClipScores:
    held_out = HeldOut(Split(), count, batch_size, torch.device("cpu"), lambda _: None)
    scores = measure(TASK, look, held_out, 0)
    assert isinstance(scores, ClipScores)
    return scores


def logits() -> Tensor:
    return look(Split().pixels / 255).double()


def test_a_row_for_every_clip_says_what_it_shows_and_what_was_said() -> None:
    clips, expected, labels = run().clips, logits(), Split().labels
    columns = ["clip", "video", "cluster", "label", "predicted", "rank", "cross_entropy"]
    assert list(clips.columns) == columns
    assert clips["clip"].tolist() == list(range(10))
    assert clips["video"].tolist() == Split().videos.tolist()
    assert clips["label"].tolist() == [CLASSES[label] for label in labels]
    assert clips["predicted"].tolist() == [CLASSES[said] for said in expected.argmax(1)]
    order = expected.argsort(1, descending=True)
    assert clips["rank"].tolist() == ((order == labels[:, None]).int().argmax(1) + 1).tolist()
    losses = -expected.log_softmax(1)[torch.arange(10), labels]
    np.testing.assert_allclose(clips["cross_entropy"], losses, rtol=1e-5)


def test_a_video_is_judged_by_the_mean_of_its_clips_logits() -> None:
    videos, expected = run().videos, logits()
    assert videos["video"].tolist() == [2, 4, 7, 9]
    means = torch.stack([expected[3:6].mean(0), expected[9], expected[:3].mean(0)])
    means = torch.cat((means, expected[6:9].mean(0)[None]))
    assert videos["predicted"].tolist() == [CLASSES[said] for said in means.argmax(1)]
    assert videos["label"].tolist() == ["run", "run", "rest", "walk"]
    losses = -means.log_softmax(1)[torch.arange(4), torch.tensor([0, 0, 5, 1])]
    np.testing.assert_allclose(videos["cross_entropy"], losses, rtol=1e-5)


def test_clips_and_videos_carry_their_cluster() -> None:
    plain, clusters = run(), torch.tensor([3, 3, 3, 1, 1, 1, 3, 3, 3, 0])
    assert plain.clips["cluster"].tolist() == Split().videos.tolist()
    held_out = HeldOut(Split(), 10, 4, torch.device("cpu"), lambda _: None)
    scores = measure(TASK, look, held_out, 0, clusters=clusters)
    assert isinstance(scores, ClipScores)
    assert scores.clips["cluster"].tolist() == clusters.tolist()
    by_video = dict(zip(scores.videos["video"], scores.videos["cluster"], strict=True))
    assert by_video == {7: 3, 2: 1, 9: 3, 4: 0}


def test_means_are_shares_of_the_rows() -> None:
    result = run()
    means = result.means()
    assert set(means) == set(RECORDED["recognition"])
    for prefix, table in (("", result.clips), ("video_", result.videos)):
        right = accuracy_score(table["label"], table["predicted"])
        assert means[f"{prefix}top1"] == pytest.approx(right)
        assert means[f"{prefix}top5"] == pytest.approx((table["rank"] <= 5).mean())
    probabilities = logits().softmax(1).numpy()
    expected = log_loss(Split().labels, probabilities, labels=range(6))
    assert means["cross_entropy"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_figures_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    whole, parts = run(batch_size=4), run(batch_size=batch_size)
    pd.testing.assert_frame_equal(whole.clips, parts.clips)
    pd.testing.assert_frame_equal(whole.videos, parts.videos)


def test_validation_is_the_same_cross_entropy() -> None:
    held_out = HeldOut(Split(), 5, 2, torch.device("cpu"), lambda _: None)
    expected = run(count=5).means()["cross_entropy"]
    assert TASK.validate(look, held_out) == pytest.approx(expected, rel=1e-6)


@given(st.integers(1, 5))
def test_few_classes_have_no_top_5(classes: int) -> None:
    names = CLASSES[:classes]
    some = torch.zeros(3, dtype=torch.long)
    result = score(torch.zeros(3, classes), some, some, names, 1.0)
    assert set(result.means()) == {"top1", "video_top1", "cross_entropy"}
    assert set(result.not_measured) == {"top5", "video_top5"}
    assert f"of {classes} " in result.not_measured["top5"]


def test_logits_that_are_no_numbers_are_not_averaged_away() -> None:
    labels, broken = torch.arange(6), torch.eye(6)
    broken[2, 4] = torch.nan
    means = score(broken, labels, labels, CLASSES, 1.0).means()
    assert np.isnan(means["cross_entropy"])
    assert means["top1"] == pytest.approx(5 / 6)


def test_one_video_has_one_label() -> None:
    with pytest.raises(ValueError, match="clips of one video have several labels"):
        score(torch.zeros(2, 6), torch.tensor([0, 1]), torch.tensor([3, 3]), CLASSES, 1.0)


def test_logits_of_other_classes_are_refused() -> None:
    held_out = HeldOut(Split(), 4, 4, torch.device("cpu"), lambda _: None)
    with pytest.raises(ValueError, match=r"logits of shape \[4, 5\], not \[4, 6\]"):
        measure(TASK, lambda clips: look(clips)[:, :5], held_out, 0)


def test_speed_counts_the_frames_that_were_looked_at() -> None:
    assert run(count=4).frames_per_second > 0
    held_out = HeldOut(Split(), 4, 2, torch.device("cpu"), lambda _: None)
    seconds = iter([1.0, 0.5])

    class Timed:
        """Held-out clips whose forward passes took known times."""

        clips, count = held_out.clips, held_out.count
        team, of_all = held_out.team, held_out.of_all

        def passes(self, forward: object, context_frames: int) -> object:
            for batch in held_out.passes(look, context_frames):
                yield type(batch)(
                    batch.first, batch.clips, batch.truth, batch.output, next(seconds)
                )

    scores = measure(TASK, look, Timed(), 0)  # type: ignore[arg-type]
    assert scores.frames_per_second == 2 * 4 / 0.5  # the first batch is left out


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    result = run()
    result.write(tmp_path)
    for name, table in (
        (records.PER_CLIP_TABLE, result.clips),
        (records.PER_VIDEO_TABLE, result.videos),
    ):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / name), table)
    assert result.points() == []
