"""What a clock tells of a child process that is left alone, stopped, or starved by its neighbours.

Only what was counted is compared, with wide margins: how busy this machine is, nobody knows.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from bench import records
from bench.train.budget import Budget, Clock
from bench.train.conditions import Calibration, Conditions, Processors
from bench.train.stopped import Stopped
from tests.bench.conftest import environment

needs_linux = pytest.mark.skipif(
    not Stopped().is_known or not Processors.now().threads,
    reason="this system does not count how long a thread waits for a processor",
)

CHILD = """
import json, os, sys, time
from bench.train.budget import Budget, Clock
os.nice(int(sys.argv[2]))
clock = Clock(Budget("seconds", 1.0), lambda: None)
print("ready", flush=True)
began = time.perf_counter()
with clock.running():
    while clock.seconds < float(sys.argv[1]):
        sum(range(10_000))
        clock.count_step(1)
passed = time.perf_counter() - began
print(json.dumps({"passed": passed, "seconds": clock.seconds} | clock.conditions.metrics()))
"""


def _child(
    seconds: float, disturb: Callable[[int], None] = lambda _: None, niceness: int = 0
) -> dict[str, float]:
    """What a clock counts in a child process that trains for so long."""
    words = [sys.executable, "-c", CHILD, str(seconds), str(niceness)]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        disturb(child.pid)
        counted: dict[str, float] = json.loads(child.communicate(timeout=60)[0])
        return counted


def _stop(pid: int) -> None:
    time.sleep(0.2)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(pid, signal.SIGCONT)


@needs_linux
def test_a_process_that_is_stopped_is_not_charged_for_it() -> None:
    counted = _child(0.8, _stop)
    assert counted[records.STOPPED_SECONDS] == pytest.approx(2.0, abs=0.5)
    uncharged = counted["passed"] - counted["seconds"]
    assert uncharged == pytest.approx(counted[records.STOPPED_SECONDS], abs=0.2)


@needs_linux
def test_a_process_that_is_starved_is_charged_and_its_share_tells() -> None:
    hogs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        counted = _child(0.8, niceness=5)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert counted[records.STOPPED_SECONDS] == 0.0
    assert counted["seconds"] == pytest.approx(counted["passed"], abs=0.2)
    assert counted[records.CPU_SHARE] < 0.7
    assert counted[records.TRAIN_CPU_SECONDS] < 0.7 * counted["seconds"]


@needs_linux
@pytest.mark.parametrize("wait", [time.sleep, threading.Event().wait])
def test_waiting_for_a_device_or_a_batch_is_neither_stopped_nor_starved(
    wait: Callable[[float], object],
) -> None:
    clock = Clock(Budget("seconds", 1.0), lambda: None)
    with clock.running():
        wait(0.6)
    counted = clock.conditions.metrics()
    assert counted[records.STOPPED_SECONDS] == 0.0
    assert counted[records.TRAIN_CPU_SECONDS] < 0.3
    assert clock.seconds >= 0.6


@needs_linux
def test_a_thread_that_holds_pythons_lock_is_not_taken_for_a_stop() -> None:
    ctypes = pytest.importorskip("ctypes")
    with Stopped() as stopped:
        ctypes.PyDLL(None).usleep(900_000)  # asleep, and keeps all other threads from running
        assert stopped.seconds == 0.0


@needs_linux
def test_a_thread_that_ends_takes_nothing_of_what_was_counted_with_it() -> None:
    conditions, go_on = Conditions(), threading.Event()
    thread = threading.Thread(target=lambda: sum(range(3_000_000)) and go_on.wait())
    before = Processors.now()
    thread.start()
    while Processors.now().since(before)[0] < 0.02:
        time.sleep(0.01)
    conditions.add(0.1, 1, 0.0, before)
    before = Processors.now()
    go_on.set()
    thread.join()
    counted = conditions.metrics()
    conditions.add(0.1, 1, 0.0, before)
    after = conditions.metrics()
    assert 0 < after[records.CPU_SHARE] <= 1
    assert after[records.TRAIN_CPU_SECONDS] >= counted[records.TRAIN_CPU_SECONDS]


@pytest.mark.parametrize(
    ("threads", "share"),
    [
        ({"1": (0.5, 0.5), "2": (0.5, 0.5)}, 0.5),  # a neighbour has the other half
        ({"1": (1.0, 0.0), "new": (0.6, 0.4)}, 0.8),
        ({"1": (0.6, 0.4), "2": (0.7, 0.3), "3": (0.7, 0.3)}, 1.0),  # each other's neighbours
    ],
)
def test_the_share_is_that_of_the_processors_there_are(
    threads: dict[str, tuple[float, float]], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.train.conditions.usable_processors", lambda: 2)
    monkeypatch.setattr(Processors, "now", lambda: Processors(2.0, threads))
    conditions = Conditions()
    conditions.add(1.0, 4, 0.0, Processors(0.0, {"1": (0.0, 0.0), "ended": (9.0, 9.0)}))
    assert conditions.metrics()[records.CPU_SHARE] == pytest.approx(share)


def test_what_no_system_tells_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processors, "now", lambda: Processors(2.0, {}))
    monkeypatch.setattr("bench.train.conditions.clock_hertz", lambda: None)
    conditions = Conditions()
    conditions.add(1.0, 4, None, Processors(0.0, {}))
    unknown = {records.CPU_SHARE, records.STOPPED_SECONDS, records.CLOCK_HERTZ}
    assert not unknown & conditions.metrics().keys()
    assert conditions.metrics()[records.TRAIN_CPU_SECONDS] == 2.0


def test_a_resumed_cell_is_measured_against_the_calibration_of_each_of_its_processes() -> None:
    first, second = Conditions(), Conditions()
    first.calibration, second.calibration = Calibration(1.0, 2.0), Calibration(3.0, 6.0)
    first.add(10.0, 10, 0.0, Processors.now())
    second.restore(first.state())
    second.add(40.0, 10, 1.5, Processors.now())
    found = second.metrics()
    assert found[records.SPEED_OF_CALIBRATION] == pytest.approx((10 + 30) / 50)
    assert found[records.CALIBRATION_STEP_SECONDS] == pytest.approx(2.0)
    assert found[records.STEP_WALL_SECONDS] == pytest.approx(2.5)
    assert found[records.STOPPED_SECONDS] == 1.5
