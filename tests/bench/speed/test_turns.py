import pytest

from bench.speed import turns
from bench.speed.turns import Turn, Turns, ratios, spread


class FakeTime:
    """A clock that only works move."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.cpu


class Worker:
    """Works for so many seconds a call, on two threads; notes its calls."""

    def __init__(self, clock: FakeTime, seconds: float, log: list[object]) -> None:
        self.clock, self.seconds, self.log = clock, seconds, log
        self.numbers: list[int] = []

    def __call__(self, number: int) -> None:
        self.clock.wall += self.seconds
        self.clock.cpu += 2 * self.seconds
        self.numbers.append(number)
        self.log.append(self)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(turns, "time", fake)
    return fake


def timing(seconds: float) -> Turns:
    return Turns(seconds, lambda: None, lambda: None)


def test_pairs_alternate_and_say_what_a_call_takes(clock: FakeTime) -> None:
    log: list[object] = []
    ours, theirs = Worker(clock, 1.0, log), Worker(clock, 3.0, log)
    mine, others = timing(20.0).take(ours, theirs)
    assert {(t.wall_seconds, t.cpu_seconds) for t in mine} == {(1.0, 2.0)}
    assert {t.wall_seconds for t in others} == {3.0}
    assert len(mine) == len(others) == 10  # 20 s of each side, 4 s a pair
    assert log[2:8] == [ours, theirs, theirs, ours, ours, theirs]  # after the first of each
    assert ours.numbers == [*range(11)]
    assert ratios(lambda turn: turn.cpu_seconds, mine, others) == [3.0] * 10


def test_short_calls_share_a_turn_and_long_ones_are_at_least_seven(clock: FakeTime) -> None:
    short, long = Worker(clock, 0.01, []), Worker(clock, 1.0, [])
    (taken,) = timing(2.0).take(short)
    assert len(taken) == 10
    assert len(short.numbers) == 1 + 10 * 20  # 0.2 s a turn
    assert {round(turn.wall_seconds, 9) for turn in taken} == {0.01}
    (taken,) = timing(2.0).take(long)
    assert len(taken) == 7


def test_a_turn_longer_than_all_the_time_is_the_only_one(clock: FakeTime) -> None:
    (taken,) = timing(2.0).take(Worker(clock, 5.0, []))
    assert len(taken) == 1


def test_one_by_one_every_call_is_a_turn(clock: FakeTime) -> None:
    (taken,) = timing(1.0).take(Worker(clock, 0.0625, []), one_by_one=True)
    assert len(taken) == 16


def test_time_is_read_with_the_device_idle_and_a_pause_is_not_counted(clock: FakeTime) -> None:
    def synchronize() -> None:
        clock.wall += queued[0]
        queued[0] = 0.0

    def work(_: int) -> None:
        queued[0] += 1.0  # the device goes on alone

    def pause() -> None:
        clock.wall += 100.0

    queued = [50.0]  # of what was begun before
    (taken,) = Turns(3.0, synchronize, pause).take(work, one_by_one=True)
    assert {turn.wall_seconds for turn in taken} == {1.0}


@pytest.mark.parametrize(
    ("values", "low", "middle", "high"),
    [([3.0], 3, 3, 3), ([1.0, 2.0], 1.25, 1.5, 1.75), ([5.0, 1.0, 2.0, 4.0, 3.0], 2, 3, 4)],
)
def test_the_median_stands_between_its_quartiles(
    values: list[float], low: float, middle: float, high: float
) -> None:
    assert spread("speed/x", values) == {
        "speed/x": middle,
        "speed/x.lower_quartile": low,
        "speed/x.upper_quartile": high,
    }


def test_a_ratio_is_of_a_pair_not_of_medians() -> None:
    ours = [Turn(1.0, 0.0), Turn(10.0, 0.0)]
    theirs = [Turn(2.0, 0.0), Turn(20.0, 0.0)]
    assert ratios(lambda turn: turn.wall_seconds, ours, theirs) == [2.0, 2.0]
