"""The launcher on this machine: slots, and what a child that dies without a word died of."""

import sys
from types import SimpleNamespace

import pytest

from bench.run.events import Finished, Note, Progress, decode, encode
from bench.run.launchers import local
from bench.run.launchers.launcher import Job, default_total_seconds
from bench.run.launchers.local import LocalLauncher


def _run(monkeypatch: pytest.MonkeyPatch, code: str, **limits: float) -> list[object]:
    """What the launcher tells of a child that runs `code`."""
    popen = local.subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return popen([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

    fake = SimpleNamespace(**vars(local.subprocess) | {"Popen": start})
    monkeypatch.setattr(local, "subprocess", fake)
    job = Job("a/b/0", [], limits.get("silence", 30), limits.get("total"))
    return [event for _, event in LocalLauncher("cpu").run([job])]


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
def test_a_death_without_a_word_is_named(
    monkeypatch: pytest.MonkeyPatch, code: str, status: str, error: str
) -> None:
    end = _run(monkeypatch, code)[-1]
    assert isinstance(end, Finished)
    assert (end.status, error in end.error) == (status, True), end


def test_a_kill_by_the_kernel_for_memory_is_told_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills = iter(range(10))
    monkeypatch.setattr(local.hardware, "kernel_oom_kills", lambda: next(kills))
    end = _run(monkeypatch, "import os; os.kill(os.getpid(), 9)")[-1]
    assert isinstance(end, Finished)
    assert end.status == "oom"


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"silence": 1.0}, "no sign of life"), ({"total": 1.0}, "took longer than 1 s")],
)
def test_a_child_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], words: str
) -> None:
    chatter = "import time\nwhile True: time.sleep(0.2); print('x', flush=True)"
    code = chatter if "total" in limits else "import time; time.sleep(60)"
    end = _run(monkeypatch, code, **limits)[-1]
    assert isinstance(end, Finished)
    assert end.status == "timeout"
    assert words in end.error


def test_a_child_that_will_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    end = _run(monkeypatch, code, silence=2.0)[-1]
    assert isinstance(end, Finished)
    assert end.status == "timeout"


def test_what_a_child_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [Progress("train", 0.5, loss=0.1), Note("hello"), Finished("done", run_id="r")]
    lines = "\n".join(encode(event) for event in said)
    events = _run(monkeypatch, f"print({lines!r})")
    assert events[1:] == said


@pytest.mark.parametrize("line", ["", "hello", '{"event": "unknown"}', '{"event": "note"}', "{"])
def test_what_is_no_event_is_not_taken_for_one(line: str) -> None:
    assert decode(line) is None


def test_one_cell_runs_on_each_visible_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    slots = LocalLauncher("cuda").slots
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["2", "5"]
    assert LocalLauncher("cpu").slots == [{}]


def test_the_hard_limit_is_known_only_for_seconds() -> None:
    assert default_total_seconds(60) == 4200
    assert default_total_seconds(None) is None
