from __future__ import annotations

import pytest
import torch

from models.copy_last import CopyLast
from models.mean_frame import MeanFrame


def test_copy_last_repeats_the_last_frame() -> None:
    context = torch.rand(2, 3, 1, 4, 5)
    prediction = CopyLast((1, 4, 5))(context, 6)
    assert prediction.shape == (2, 6, 1, 4, 5)
    assert all(torch.equal(prediction[:, k], context[:, -1]) for k in range(6))


def test_mean_frame_is_the_mean_over_clips_of_any_batch_size() -> None:
    clips = torch.rand(7, 5, 3, 4, 4)
    model = MeanFrame((3, 4, 4))
    model.fit(clips.split(3))
    prediction = model(clips[:2], 4)
    torch.testing.assert_close(prediction, clips.mean((0, 1)).expand(2, 4, 3, 4, 4))


def test_mean_frame_comes_back_from_its_state() -> None:
    model, restored = MeanFrame((1, 4, 4)), MeanFrame((1, 4, 4))
    model.fit([torch.rand(2, 2, 1, 4, 4)])
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored.mean, model.mean)


def test_mean_frame_of_nothing_is_refused_and_unfitted_is_not_a_number() -> None:
    model = MeanFrame((1, 4, 4))
    assert bool(model(torch.rand(1, 1, 1, 4, 4), 1).isnan().all())
    with pytest.raises(ValueError, match="at least one training clip"):
        model.fit([])
