import csv
import io
import json
import math

import pytest

from bench.console.rows import print_lines, print_rows

LONG = "a_user_s_own_model_with_a_name_that_is_longer_than_any_terminal_is_wide_" * 2
ROWS: list[dict[str, object]] = [
    {"name": "convlstm", "year": 2015, "mse": 0.0312345, "sizes": "small, published"},
    {"name": LONG, "mse": math.nan},
]
COLUMNS = ["name", "mse", "year", "sizes"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_is_a_list_of_the_columns_with_the_values_as_they_are() -> None:
    stream = io.StringIO()
    print_rows(ROWS, COLUMNS, "json", stream)
    first, second = json.loads(stream.getvalue())
    assert first == {name: ROWS[0][name] for name in COLUMNS}
    assert second == {"name": LONG, "mse": None, "year": None, "sizes": None}


def test_csv_quotes_what_holds_a_comma() -> None:
    stream = io.StringIO()
    print_rows(ROWS, COLUMNS, "csv", stream)
    lines = list(csv.reader(io.StringIO(stream.getvalue())))
    assert lines == [
        COLUMNS,
        ["convlstm", "0.0312345", "2015", "small, published"],
        [LONG, "", "", ""],
    ]


def test_a_piped_table_is_plain_and_keeps_each_row_on_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    print_rows(ROWS, COLUMNS, stream=stream)
    heading, _, first, second = stream.getvalue().splitlines()
    assert heading.split() == COLUMNS
    assert first.split() == ["convlstm", "0.0312", "2015", "small,", "published"]
    assert second.split() == [LONG]
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_long_names_whole_within_its_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    print_rows(ROWS, ["name"], stream=stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines[1:])) <= 60
    assert LONG in "".join(line.strip() for line in lines)


def test_names_stay_whole_while_another_column_can_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    name = "moving_mnist/official"
    print_rows([{"name": name, "notice": "many words " * 20}], ["name", "notice"], stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[2].startswith(f"{name}  many words")
    assert len(lines) > 6


def test_columns_that_do_not_fit_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    row = {"name": "moving_mnist", "paper": "https://arxiv.org/abs/1506.04214", "year": 2015}
    stream = Terminal()
    print_rows([row], ["name", "paper", "year"], stream=stream)
    heading, _, line, note = stream.getvalue().splitlines()
    assert "name" in heading
    assert "paper" not in heading
    assert line.split() == ["moving_mnist", "2015"]
    assert note == "too wide for 40 columns: paper"


def test_no_rows_still_show_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], ["name", "status"])
    assert capsys.readouterr().out.split()[:2] == ["name", "status"]


def test_what_is_no_finite_number_is_null_in_json() -> None:
    stream = io.StringIO()
    print_rows([{"a": math.inf, "b": -math.inf, "c": math.nan}], ["a", "b", "c"], "json", stream)
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail) == [dict.fromkeys("abc")]


def test_a_spreadsheet_computes_no_text_and_numbers_stay_numbers() -> None:
    stream = io.StringIO()
    print_rows(
        [{"name": "=1+1", "gain": -1.5, "error": "-2"}], ["name", "gain", "error"], "csv", stream
    )
    assert list(csv.reader(io.StringIO(stream.getvalue())))[1] == ["'=1+1", "-1.5", "-2"]


def test_names_are_one_line_without_markup_and_terminal_codes() -> None:
    stream = io.StringIO()
    print_rows([{"name": "[bold]x[/none]\n\x1b[2Jy"}], ["name"], stream=stream)
    assert stream.getvalue().splitlines()[2].strip() == "[bold]x[/none] y"


def test_lines_wrap_between_words_at_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, text = Terminal(), "A machine learning approach for precipitation nowcasting\nx"
    print_lines(text, stream)
    shown = stream.getvalue().splitlines()
    assert [line.strip() for line in shown[:2]] == [
        "A machine learning approach",
        "for precipitation nowcasting",
    ]
    print_lines(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_a_reader_that_goes_away_is_told_apart_from_a_failure() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        print_rows(ROWS, ["name"], stream=Gone())
