import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from pebble.pool import process as pool

from datasets.video.interrupts import held_back
from datasets.video.prepare import prepare
from tests.datasets.video.counter import COUNTERS, counter_video


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Ctrl-C raises, which a shell that runs the tests in the background has ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupted(steps: list[str], asks: bool) -> None:
    with held_back() as raise_interrupt:
        raise_interrupt()
        signal.raise_signal(signal.SIGINT)
        steps.append("went on")
        if asks:
            raise_interrupt()
        steps.append("the end")


@pytest.mark.parametrize(
    ("asks", "expected"), [(True, ["went on"]), (False, ["went on", "the end"])]
)
def test_an_interrupt_comes_where_it_is_asked_for_or_at_the_end(
    asks: bool, expected: list[str]
) -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted(steps, asks)
    assert steps == expected
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # as before the block


def test_an_ignored_interrupt_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back() as raise_interrupt:
        signal.raise_signal(signal.SIGINT)
        raise_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_are_never_interrupted() -> None:
    def hold() -> bool:
        with held_back() as raise_interrupt:
            raise_interrupt()
            return signal.getsignal(signal.SIGINT) is signal.default_int_handler

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(hold).result()


@pytest.fixture
def at_each_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[BaseProcess], None]]]:
    """Called with each process of the pool once it was started, before the pool knows it."""
    calls: list[Callable[[BaseProcess], None]] = []
    launch = pool.launch_process

    def launched(*arguments: Any) -> BaseProcess:
        process = launch(*arguments)
        for call in calls:
            call(process)
        return process

    monkeypatch.setattr(pool, "launch_process", launched)
    yield calls
    for process in multiprocessing.active_children():  # of a test that failed
        process.kill()
        process.join()


def test_an_interrupt_at_the_start_of_a_process_leaves_none(
    tmp_path: Path, cache_home: Path, at_each_start: list[Callable[[BaseProcess], None]]
) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 5)
    started: list[BaseProcess] = []
    at_each_start += [started.append, lambda _: signal.raise_signal(signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        prepare(COUNTERS, tmp_path / "videos", workers=1)
    assert started
    assert not multiprocessing.active_children()


def test_a_process_hears_no_interrupt_however_early(
    tmp_path: Path, cache_home: Path, at_each_start: list[Callable[[BaseProcess], None]]
) -> None:
    """Ctrl-C comes to all processes of a terminal: the parent decides."""
    counter_video(tmp_path / "videos" / "0.avi", 5)

    def interrupt(process: BaseProcess) -> None:
        assert process.pid
        os.kill(process.pid, signal.SIGINT)

    at_each_start.append(interrupt)
    prepared = prepare(COUNTERS, tmp_path / "videos", workers=1)
    assert (prepared.decoded, prepared.damaged) == (1, ())
