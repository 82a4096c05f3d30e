"""Text of any kind, in each format that it is written in."""

import pytest

from bench.escape import csv_cell, file_stem, markdown, name, one_line


@pytest.mark.parametrize(
    "text",
    ["*a* _b_ __c__", "[x](javascript:alert(1))", "<script>", "`a`", "a\\_b", "# a", "- a", "1. a"],
)
def test_nothing_in_markdown_keeps_a_meaning(text: str) -> None:
    written = markdown(text)
    assert not set(written) & set("<>`*[]")
    assert not written.startswith(("#", "-", "1."))
    assert "_b_" not in written
    assert "\\_" not in written


@pytest.mark.parametrize("text", ["convlstm-small", "copy_last", "a__b", "32 % lower", "模型"])
def test_usual_names_are_written_as_they_are(text: str) -> None:
    assert markdown(text) == text


def test_a_line_holds_nothing_that_breaks_it_or_turns_it() -> None:
    line = one_line("a\nb\r\x00c\x1b[2J\u202edef\udcff")
    assert line == "a b c [2Jdef\\udcff"
    line.encode("utf-8")


def test_a_long_text_is_cut_in_its_middle() -> None:
    cut = one_line("a" * 3000 + "b" * 3000, 48)
    assert len(cut) == 48
    assert (cut[0], cut[-1]) == ("a", "b")


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "+cmd|' /C calc'!A1", "-2+3", "\t=1", "\r=1"])
def test_a_spreadsheet_computes_no_text(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, "-1.5", "-3", "+2e-5", "a=b", "", None, 3])
def test_numbers_and_other_texts_stay_what_they_are(value: object) -> None:
    assert csv_cell(value) == value


def test_names_are_short_and_differ_where_they_did() -> None:
    texts = ["a b", "a\nb", "a  b", "a" * 5000, "a" * 5001, "a\udcff", "a\\udcff"]
    names = [name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert max(map(len, names)) <= 120
    assert name("frames(name='still', size=(48, 64))") == "frames(name='still', size=(48, 64))"


def test_a_file_name_is_short_and_plain() -> None:
    stem = file_stem("../a b#?%41\udcff模" + "x" * 5000)
    assert stem.isascii()
    assert len(stem) <= 60
    assert not set(stem) & set("/ #?%")
