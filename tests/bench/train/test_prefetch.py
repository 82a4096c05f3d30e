"""Batches are drawn one step ahead, and nothing else about them changes."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.train.held_out import Batch
from bench.train.prefetch import Batches

CPU = torch.device("cpu")


def numbered(number: int) -> Batch:
    """A batch that depends on the step's number alone."""
    return (torch.randint(0, 256, (5,), generator=torch.Generator().manual_seed(number + 9)),)


def _same(batch: Batch, other: Batch) -> bool:
    return all(map(torch.equal, batch, other))


@given(st.lists(st.integers(-9, 9), max_size=12))
def test_any_order_of_steps_gives_the_batch_of_each(numbers: list[int]) -> None:
    batches = Batches(numbered, CPU)
    assert all(_same(batches.take(number), numbered(number)) for number in numbers)


class Recorder:
    """Draws, and remembers for which steps and in which threads."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, number: int) -> Batch:
        self.numbers.append(number)
        self.threads.add(threading.current_thread())
        return numbered(number)


def test_one_batch_is_drawn_ahead_and_no_more() -> None:
    draw = Recorder()
    batches = Batches(draw, CPU)
    for number in range(-3, 3):  # from the warm-up into the training
        batches.take(number)
        time.sleep(0.02)  # a step
        assert draw.numbers == [*range(-3, number + 2)]
    assert len(draw.threads) == 1
    assert threading.current_thread() not in draw.threads


def test_the_next_batch_is_drawn_while_a_step_runs() -> None:
    step_runs, drawn_meanwhile = threading.Event(), threading.Event()

    def draw(number: int) -> Batch:
        if number == 1:
            assert step_runs.wait(20)
            drawn_meanwhile.set()
        return numbered(number)

    batches = Batches(draw, CPU)
    batches.take(0)
    step_runs.set()
    assert drawn_meanwhile.wait(20)


def test_what_a_step_waits_is_measured() -> None:
    def slow(number: int) -> Batch:
        time.sleep(0.1)
        return numbered(number)

    batches = Batches(slow, CPU)
    batches.take(0)
    assert batches.waited_seconds >= 0.1
    time.sleep(0.3)  # a long step
    batches.take(1)
    assert batches.waited_seconds < 0.05
    batches.take(2)
    assert batches.waited_seconds >= 0.05


def test_a_failure_is_raised_at_the_step_that_needed_the_batch() -> None:
    def failing(number: int) -> Batch:
        if number == 2:
            raise OSError("the disk is gone")
        return numbered(number)

    batches = Batches(failing, CPU)
    batches.take(0)
    batches.take(1)
    with pytest.raises(OSError, match="the disk is gone"):
        batches.take(2)
    assert _same(batches.take(3), numbered(3))


def test_a_failure_of_a_step_that_is_never_taken_is_not_raised() -> None:
    def failing(number: int) -> Batch:
        if number == 1:
            raise OSError("the disk is gone")
        return numbered(number)

    batches = Batches(failing, CPU)
    batches.take(0)
    batches.drop()
    assert _same(batches.take(7), numbered(7))


def test_nothing_is_kept_of_batches_that_were_used_or_dropped() -> None:
    alive: list[int] = []

    class Counted(Tensor):
        def __del__(self) -> None:
            alive.remove(id(self))

    def draw(number: int) -> Batch:
        made = numbered(number)[0].as_subclass(Counted)
        alive.append(id(made))
        return (made,)

    batches = Batches(draw, CPU)
    for number in range(5):
        batches.take(number)
    batches.drop()
    assert alive == []


def test_a_process_ends_though_a_batch_is_still_being_drawn(tmp_path: Path) -> None:
    code = (
        "import time, torch; from bench.train.prefetch import Batches\n"
        "draw = lambda number: (time.sleep(0.5 * (number > 0)), (torch.zeros(1),))[1]\n"
        "batches = Batches(draw, torch.device('cpu')); batches.take(0); print('trained')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("trained\n", "")


def test_the_thread_ends_with_the_batches() -> None:
    draw = Recorder()
    batches = Batches(draw, CPU)
    batches.take(0)
    del batches
    (thread,) = draw.threads
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_a_step_sees_whole_batches_and_none_is_overwritten_while_used() -> None:
    device, count = torch.device("cuda"), 1 << 24

    def draw(number: int) -> Batch:
        """Slow on its own stream: a step that did not wait would see zeros."""
        clips = torch.zeros(count, dtype=torch.uint8, device=device)
        torch.cuda._sleep(20_000_000)
        return (clips.add_(number % 251 + 1),)

    batches = Batches(draw, device)
    sums = []
    for number in range(40):
        (clips,) = batches.take(number)
        torch.cuda._sleep(30_000_000)  # a step that uses its batch late
        sums.append(clips.sum(dtype=torch.int64))
        del clips  # its memory may be given to a later batch, once the step is over
    expected = [(number % 251 + 1) * count for number in range(40)]
    assert torch.stack(sums).tolist() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_drawing_does_not_wait_for_the_step_before() -> None:
    device = torch.device("cuda")
    drawn: list[torch.cuda.Event] = []

    def draw(number: int) -> Batch:
        batch = (torch.full((8,), number, device=device),)
        drawn.append(torch.cuda.current_stream().record_event())
        return batch

    batches = Batches(draw, device)
    batches.take(0)
    torch.cuda._sleep(4_000_000_000)  # seconds of a step
    step = torch.cuda.current_stream().record_event()
    batches._ahead[1].result()
    drawn[1].synchronize()
    assert not step.query()
    torch.cuda.synchronize()
