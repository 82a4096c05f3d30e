"""Tables as LaTeX of the package booktabs, for papers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.escape import one_line
from bench.report.table import Entry, Row, Table

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "±": "$\\pm$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "→": "$\\rightarrow$",
    "·": "$\\cdot$",
    "\N{MINUS SIGN}": "$-$",
    "—": "---",
    "†": "\\dag{}",
    "‡": "\\ddag{}",
    "§": "\\S{}",
    "¶": "\\P{}",
    "“": "``",
    "”": "''",
    "…": "\\dots{}",
}
HEAD = "% Needs \\usepackage{booktabs}.\n"


def escaped(text: str) -> str:
    """`text` as LaTeX that shows just that, on one line."""
    return "".join(_SIGNS.get(character, character) for character in one_line(text))


def latex(table: Table, caption: str) -> str:
    """`table` as a float: the best and all that share its mark bold, with ± and the seeds n.

    Rows without figures stand in no paper's table, so they are left out.
    """
    return "\n".join(_lines(table, caption)) + "\n"


def _lines(table: Table, caption: str) -> Iterator[str]:
    rows = [row for row in table.rows if row.done]
    yield "\\begin{table}"
    yield "  \\centering"
    yield f"  \\caption{{{escaped(caption)}}}"
    yield f"  \\begin{{tabular}}{{lr{'r' * len(table.columns)}}}"
    yield "    \\toprule"
    headings = ["model", "$n$", *(escaped(column.heading) for column in table.columns)]
    yield f"    {' & '.join(headings)} \\\\"
    yield "    \\midrule"
    for row in rows:
        yield f"    {' & '.join(_cells(row))} \\\\"
    yield "    \\bottomrule"
    yield "  \\end{tabular}"
    yield "\\end{table}"


def _cells(row: Row) -> Iterator[str]:
    yield escaped(row.name)
    yield str(row.n)
    yield from map(_figure, row.entries)


def _figure(entry: Entry) -> str:
    text = f"\\textbf{{{escaped(entry.text)}}}" if entry.best else escaped(entry.text)
    return f"{text} {escaped(entry.half_width)}".strip()
