"""The launcher on this machine: slots, and what a child that dies without a word died of."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.records import Status
from bench.run import gpus
from bench.run.events import Finished, Note, Progress, decode, encode
from bench.run.launchers import child as children
from bench.run.launchers import local
from bench.run.launchers.launcher import Job, default_total_seconds
from bench.run.launchers.local import LocalLauncher
from bench.suite.launch import Launch

Run = Callable[..., list[object]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """What the launcher tells of a child that runs some code, which finds its pipe as `events`."""
    popen = children.subprocess.Popen

    def told(code: str, stops: int = 0, **limits: float) -> list[object]:
        def start(command: list[str], **options: object) -> object:
            words = [sys.executable, "-c", f"events = {command[-1]}\n{code}"]
            return popen(words, **options)  # type: ignore[call-overload]

        fake = SimpleNamespace(**vars(children.subprocess) | {"Popen": start})
        monkeypatch.setattr(children, "subprocess", fake)
        log = tmp_path / "cell.log"
        job = Job("a/b/0", [], log, limits.get("silence", 30), limits.get("total"))
        launcher, events = LocalLauncher("cpu"), []
        for _, event in launcher.run([job]):
            events.append(event)
            if isinstance(event, Note):  # it is ready to be asked
                for _ in range(stops):
                    launcher.stop()
        return events

    return told


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "interrupted", "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "interrupted", "SIGTERM"),
        ("raise SystemExit('error: nothing there')", "failed", "error: nothing there"),
        ("pass", "failed", "without a word"),
    ],
)
def test_a_death_without_a_word_is_named(run: Run, code: str, status: str, error: str) -> None:
    end = run(code)[-1]
    assert isinstance(end, Finished)
    assert (end.status, error in end.error) == (status, True), end


def test_a_kill_by_the_kernel_for_memory_is_told_from_another(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    kills = iter(range(10))
    monkeypatch.setattr(children, "kernel_oom_kills", lambda: next(kills))
    end = run("import os; os.kill(os.getpid(), 9)")[-1]
    assert isinstance(end, Finished)
    assert end.status == "oom"


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"silence": 1.0}, "no sign of life"), ({"total": 1.0}, "took longer than 1 s")],
)
def test_a_child_that_hangs_is_ended(run: Run, limits: dict[str, float], words: str) -> None:
    chatter = "import time\nwhile True: time.sleep(0.2); print('x', flush=True)"
    code = chatter if "total" in limits else "import time; time.sleep(60)"
    end = run(code, **limits)[-1]
    assert isinstance(end, Finished)
    assert end.status == "timeout"
    assert words in end.error


def test_a_child_that_will_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    end = run(code, silence=2.0)[-1]
    assert isinstance(end, Finished)
    assert end.status == "timeout"


TOLD = [Progress("train", 0.5, loss=0.1), Note("hello"), Finished(Status.DONE, run_id="r")]
LINES = "\n".join(map(encode, TOLD)) + "\n"


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "print('.', end='', flush=True)",
        "os.write(1, b'text without an end')",
        "os.write(2, bytes(range(256)))",
        "print('x' * 3_000_000, end='')",
        """print('{"event": "finished", "status": "failed"}')""",
    ],
)
def test_what_a_child_tells_is_passed_on_whatever_it_prints(run: Run, printed: str) -> None:
    events = run(f"import os\n{printed}\nos.write(events, {LINES!r}.encode())")
    assert events[1:] == TOLD


CRAFTED = r"""[
    b"\xff\xfe\x00",
    b"x" * 3_000_000,
    b"[" * 50_000,
    b'{"event": "finished", "status": "wonderful"}',
    b'{"event": "finished", "status": "done", "metrics": {"test/mse": "low"}}',
    b'{"event": "finished", "status": "done"}',  # not the last word
    b'{"event": "progress", "phase": "train", "fraction": 7}',
    b'{"event": "progress", "phase": "train", "fraction": 0.5, "loss": NaN}',
    b'{"event": "progress", "phase": "train", "fraction": 0.5, "memory_bytes": -1}',
    b'{"event": "progress", "phase": "train", "fraction": 0.5, "spent": "\u001b[2J"}',
]"""


def test_crafted_events_are_dropped(run: Run) -> None:
    events = run(
        f"import os\nfor data in (*{CRAFTED}, {LINES!r}.encode()):\n"
        "    data += b'\\n'\n"
        "    while data: data = data[os.write(events, data):]"
    )
    assert events[1:] == TOLD


def test_an_end_that_was_not_the_last_word_is_none(run: Run) -> None:
    said = "\n".join(map(encode, [TOLD[-1], TOLD[0]])) + "\n"
    end = run(f"import os; os.write(events, {said!r}.encode()); os._exit(3)")[-1]
    assert isinstance(end, Finished)
    assert (end.status, end.error) == (Status.FAILED, "exit code 3: without a word")


def test_what_a_child_leaves_behind_ends_with_it(run: Run, tmp_path: Path) -> None:
    code = """
import os, time
if not os.fork():
    os.set_inheritable(events, True)
    print("alive", flush=True)
    time.sleep(60)
time.sleep(0.5)
open(%r, "w").write(str(os.getpgid(0)))
"""
    place = tmp_path / "group"
    end = run(code % str(place))[-1]
    assert isinstance(end, Finished)
    deadline = time.monotonic() + 10
    while _lives(int(place.read_text(encoding="utf-8"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(int(place.read_text(encoding="utf-8")))


def _lives(group: int) -> bool:
    living = [p for p in psutil.process_iter() if p.status() != psutil.STATUS_ZOMBIE]
    return any(os.getpgid(p.pid) == group for p in living if psutil.pid_exists(p.pid))


STUBBORN = f"""
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
os.write(events, {(encode(Note("ready")) + chr(10))!r}.encode())
time.sleep(60)
"""


def test_a_second_stop_kills_at_once(run: Run) -> None:
    began = time.monotonic()
    end = run(STUBBORN, stops=2)[-1]
    assert isinstance(end, Finished)
    assert end.status is Status.INTERRUPTED
    assert time.monotonic() - began < children.GRACE_SECONDS


def test_a_child_that_is_slow_to_stop_was_not_killed_from_outside(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.5)
    end = run(STUBBORN, stops=1)[-1]
    assert isinstance(end, Finished)
    assert end.status is Status.INTERRUPTED
    assert end.error == "not over 0.5 s after it was asked to end, and killed"


def test_a_thread_that_goes_on_does_not_undo_the_end(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.5)
    code = f"import os, threading, time; os.write(events, {LINES!r}.encode())"
    end = run(f"{code}; threading.Thread(target=time.sleep, args=(60,)).start()", silence=0.3)
    assert end[-1] == TOLD[-1]


def test_a_stopped_child_is_killed(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.5)
    end = run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", silence=1.0)[-1]
    assert isinstance(end, Finished)
    assert (end.status, "no sign of life" in end.error) == ("timeout", True)


@pytest.mark.parametrize("line", ["", "hello", '{"event": "unknown"}', '{"event": "note"}', "{"])
def test_what_is_no_event_is_not_taken_for_one(line: str) -> None:
    assert decode(line) is None


def test_an_event_says_no_more_than_can_be_sent() -> None:
    for event in (Note("x" * 10_000), Finished(Status.FAILED, "x" * 10_000)):
        assert decode(encode(event)) is not None


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two GPUs, whose locks are the test's own."""
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "gpus")
    monkeypatch.setattr(gpus, "uuid", lambda index=0: f"uuid-of-{index}")
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (None, ["0", "1"]),
        ("2,5", ["2", "5"]),
        ("0,1,-1", ["0", "1"]),
        ("1,,0", ["1"]),
        (" 3 , 4,", ["3", "4"]),
        ("GPU-8932f937,MIG-1a2b", ["GPU-8932f937", "MIG-1a2b"]),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_one_cell_runs_on_each_visible_gpu(
    monkeypatch: pytest.MonkeyPatch, listed: str | None, names: list[str]
) -> None:
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    launcher = LocalLauncher("cuda")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in launcher.slots] == names
    assert launcher.workers == len(names)


@pytest.mark.parametrize(
    ("listed", "there", "names"),
    [
        ("5,1,GPU-89,2,3", 5, ["5,1", "GPU-89,2"]),
        ("MIG-a,MIG-b,MIG-c,MIG-d", 1, ["MIG-a,MIG-b", "MIG-c,MIG-d"]),  # CUDA shows one of them
        ("4", 1, []),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_a_cell_on_two_devices_has_two_gpus(
    monkeypatch: pytest.MonkeyPatch, listed: str, there: int, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: there)
    launcher = LocalLauncher("cuda", 2)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in launcher.slots] == names
    assert launcher.workers == len(names)


@pytest.mark.usefixtures("two_gpus")
def test_of_two_gpus_a_cell_takes_both_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    first, second = LocalLauncher("cuda").slots
    (both,) = LocalLauncher("cuda", 2).slots
    assert second.take()
    assert not both.take()
    assert first.take()
    for slot in (first, second):
        slot.give_back()
    assert both.take()
    both.give_back()


def test_without_a_gpu_one_cell_runs_at_a_time() -> None:
    launcher = LocalLauncher("cpu")
    assert [slot.environment for slot in launcher.slots] == [{}]
    assert launcher.workers == 1


@pytest.mark.usefixtures("two_gpus")
def test_two_runs_never_share_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    others, _ = LocalLauncher("cuda").slots
    assert others.take()
    ran: list[str] = []

    def child(job: Job, environment: dict[str, str], launcher: LocalLauncher) -> SimpleNamespace:
        ran.append(environment["CUDA_VISIBLE_DEVICES"])
        return SimpleNamespace(outcome=lambda: Finished(Status.DONE, ""))

    monkeypatch.setattr(local, "Child", child)
    jobs = [Job(f"a/b/{seed}", [], tmp_path / "log", 30, None) for seed in range(2)]
    events = [event for _, event in LocalLauncher("cuda").run(jobs)]
    assert ran == ["7", "7"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "GPU 4" in notes[0]
    others.give_back()
    assert [slot.take() for slot in LocalLauncher("cuda").slots] == [True, True]


@pytest.mark.usefixtures("two_gpus")
def test_a_run_waits_for_its_only_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    (others,) = LocalLauncher("cuda").slots
    assert others.take()
    done = SimpleNamespace(outcome=lambda: Finished(Status.DONE, ""))
    monkeypatch.setattr(local, "Child", lambda *arguments: done)
    events = LocalLauncher("cuda").run([Job("a/b/0", [], tmp_path / "log", 30, None)])
    _, note = next(events)
    assert isinstance(note, Note)
    others.give_back()
    assert isinstance([event for _, event in events][-1], Finished)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_used_where_no_lock_can_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "file" / "gpus")
    slot = gpus.Slot(["0"], ["uuid-of-0"])
    assert slot.take()
    slot.give_back()


def test_the_hard_limit_is_known_only_for_seconds() -> None:
    assert default_total_seconds(60) == 4200
    assert default_total_seconds(None) is None


MEETS = """
import os, pathlib, sys, time
here = pathlib.Path(sys.argv[1])
(here / str(os.getpid())).write_text(os.environ["OMP_NUM_THREADS"])
until = time.monotonic() + 30
while len([*here.iterdir()]) < 2 and time.monotonic() < until:
    time.sleep(0.05)
sys.exit(f"error: {len([*here.iterdir()])} were there")
"""


def test_cells_on_a_cpu_run_side_by_side_where_that_is_asked_for(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    jobs = [
        Job(name, [str(here)], tmp_path / name, 60, program=("-c", MEETS)) for name in ("a", "b")
    ]
    launcher = LocalLauncher("cpu", launch=Launch(parallel=2, cpus=1))
    assert launcher.workers == 2
    ends = [event.error for _, event in launcher.run(jobs) if isinstance(event, Finished)]
    assert ends == ["exit code 1: error: 2 were there"] * 2
    assert {file.read_text() for file in here.iterdir()} == {"1"}


def test_a_cell_is_told_where_copies_of_frames_go(tmp_path: Path) -> None:
    code = "import os; raise SystemExit(os.environ['NEXTFRAME_COPIES'])"
    job = Job("a", [], tmp_path / "a.log", 60, program=("-c", code))
    launcher = LocalLauncher("cpu", launch=Launch(copies="/scratch"))
    (end,) = [event for _, event in launcher.run([job]) if isinstance(event, Finished)]
    assert end.error == "exit code 1: /scratch"


@pytest.mark.usefixtures("two_gpus")
def test_fewer_cells_than_gpus_run_where_that_is_asked_for() -> None:
    launcher = LocalLauncher("cuda", launch=Launch(parallel=1))
    assert (len(launcher.slots), launcher.workers) == (1, 1)
