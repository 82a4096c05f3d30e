"""The part of UCF101 that one study compared three models on, split as it was split there."""

from __future__ import annotations

from collections.abc import Sequence

from datasets.contract import Spec
from datasets.ucf101 import FrameOrder, UCF101Base, class_of, order_named, require_classes
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import Splits, VideoDataset
from datasets.video.windows import shuffle_key

CLASSES = ("BreastStroke", "Kayaking", "Rafting", "Rowing", "Surfing")
CLIPS = 50
"""Of each class."""


class UCF101Study(UCF101Base, VideoDataset):
    """The clips and the split of a study of ConvLSTM, PredRNN and MaxViT, kept to repeat it.

    github.com/hash2004/video-generation-ViT-PredRNN-ConvLSTM, 2024: five classes, 50 clips each, at
    64x64; of each class 40 clips train, 5 validate and 5 test, a window from every frame on. It
    took the first 50 in the order in which its folder listed them, which is unknown, and drew
    its split from these: here they are the first 50 by name, and a hash of the name draws.

    It split by clip, so that clips of one group, often cut from one video, are on several sides:
    its figures say little about videos that were not trained on. `ucf101` is the sound split.
    """

    name = "ucf101/study"

    def __init__(
        self,
        context_frames: int = 10,
        horizon: int = 1,
        *,
        frame_order: FrameOrder = "natural",
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict; the study's MaxViT predicted 5, its other models 1.
            frame_order: "as_published" shows the frames of each clip as the study's MaxViT saw
                them, sorted by file name as text: 0, 1, 10, 100, 101, ...

        Raises:
            DataMissing: the clips are not prepared here, or none of a class.
            ValueError: there is no such order.
        """
        order = order_named(frame_order)
        cache = Cache.open(self.preparation())
        require_classes(cache, CLASSES)
        splits = study_splits(cache.clips)
        clips, whole = sum(map(len, splits.values())), len(CLASSES) * CLIPS
        self.notice = "the study's split shares groups of clips between training and test"
        if clips < whole:
            self.notice += f"; {clips} of its {whole} clips are here"
        spec = Spec(cache.frames.shape[1:], context_frames, horizon)
        super().__init__(cache, splits, spec, held_out_stride=1, order=order)


def study_splits(clips: Sequence[Clip]) -> Splits:
    """The first 50 `clips` of each class: a tenth validate, a tenth test, the others train."""
    train: list[Clip] = []
    validation: list[Clip] = []
    test: list[Clip] = []
    for name in CLASSES:
        of_class = sorted((c for c in clips if class_of(c) == name), key=lambda clip: clip.name)
        drawn = sorted(of_class[:CLIPS], key=lambda clip: shuffle_key(clip.name))
        tenth = len(drawn) // 10
        test += drawn[:tenth]
        validation += drawn[tenth : 2 * tenth]
        train += drawn[2 * tenth :]
    return {"train": train, "validation": validation, "test": test}
