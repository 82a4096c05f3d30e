from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.class_frequency import ClassFrequency

CLASSES = 4


def _batches(*labels: list[int]) -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(len(some), 2, 1, 4, 4), torch.tensor(some)) for some in labels]


def test_every_clip_gets_the_share_of_each_class_each_counted_once_more() -> None:
    model = ClassFrequency((1, 4, 4), CLASSES)
    model.fit(_batches([0, 0, 1], [0, 3]))
    probabilities = model(torch.rand(2, 5, 1, 4, 4)).softmax(1)
    wanted = torch.tensor([4.0, 2.0, 1.0, 2.0]) / 9
    torch.testing.assert_close(probabilities, wanted.expand(2, CLASSES))


def test_its_loss_on_what_it_was_fitted_to_is_that_of_the_smoothed_frequencies() -> None:
    model, batch = ClassFrequency((1, 4, 4), CLASSES), _batches([0, 0, 1, 3])[0]
    model.fit([batch])
    wanted = -(2 * torch.tensor(3 / 8).log() + 2 * torch.tensor(2 / 8).log()) / 4
    torch.testing.assert_close(model.training_loss(*batch), wanted)


def test_frequencies_do_not_depend_on_how_labels_are_batched() -> None:
    one, other = ClassFrequency((1, 4, 4), CLASSES), ClassFrequency((1, 4, 4), CLASSES)
    one.fit(_batches([2, 1, 2, 0, 2]))
    other.fit(iter(_batches([2], [1, 2, 0], [2])))
    assert torch.equal(one.log_frequency, other.log_frequency)


def test_it_comes_back_from_its_state() -> None:
    model, restored = ClassFrequency((1, 4, 4), CLASSES), ClassFrequency((1, 4, 4), CLASSES)
    model.fit(_batches([1, 2]))
    restored.load_state_dict(model.state_dict())
    assert torch.equal(restored.log_frequency, model.log_frequency)


def test_without_labels_it_is_refused_and_unfitted_it_is_not_a_number() -> None:
    model = ClassFrequency((1, 4, 4), CLASSES)
    assert bool(model(torch.rand(1, 1, 1, 4, 4)).isnan().all())
    with pytest.raises(ValueError, match="at least one training label"):
        model.fit([])
