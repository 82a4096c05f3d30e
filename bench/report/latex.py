"""Tables as LaTeX of the package booktabs, for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from bench.escape import one_line
from bench.report.columns import Column
from bench.report.table import Entry, Row, Table

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "[": "{[}",  # else an option of the line before
    "*": "{*}",
    "±": "$\\pm$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "→": "$\\rightarrow$",
    "·": "$\\cdot$",
    "\N{MULTIPLICATION SIGN}": "$\\times$",
    "°": "$^\\circ$",
    "²": "$^2$",
    "\N{MICRO SIGN}": "$\\mu$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "—": "---",
    "†": "\\dag{}",
    "‡": "\\ddag{}",
    "§": "\\S{}",
    "¶": "\\P{}",
    "“": "``",
    "”": "''",
    "…": "\\dots{}",
}
HEADING_LETTERS = 12  # of a line of it, unless a word is longer
HEAD = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n"
_BEGIN = """\\begin{table*}
  \\centering
  \\footnotesize
  \\setlength{\\tabcolsep}{4pt}
  \\setlength{\\belowcaptionskip}{4pt}
  \\caption{%s}
  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%%
  \\begin{tabular}{@{}%s@{}}
    \\toprule"""
_END = """    \\bottomrule
  \\end{tabular}}
\\end{table*}"""


def escaped(text: str) -> str:
    """`text` as LaTeX that shows just that, on one line; a letter that no font has by its number.

    pdflatex stops at letters beyond Latin ones.
    """
    return "".join(map(_sign, one_line(text)))


def _sign(character: str) -> str:
    is_known = character.isascii() or "À" <= character <= "ÿ"
    return _SIGNS.get(character) or (character if is_known else f"U+{ord(character):04X}")


def latex(table: Table, caption: str) -> str:
    """`table` as a float: the best and all that share its mark bold, with ± and the seeds n.

    It stands across both columns of a page that has two, and is made smaller where it is wider than
    that. Rows without figures stand in no paper's table, so they are left out.
    """
    return "\n".join(_lines(table, caption)) + "\n"


def _lines(table: Table, caption: str) -> Iterator[str]:
    rows = [row for row in table.rows if row.done]
    spreads = [any(entries) for entries in _half_widths(rows, len(table.columns))]
    kinds = "".join("r@{ }l" if spread else "r" for spread in spreads)
    yield _BEGIN % (escaped(caption), f"lr{kinds}")
    headings = [_heading(*pair) for pair in zip(table.columns, spreads, strict=True)]
    yield f"    {' & '.join(['model', '$n$', *headings])} \\\\"
    yield "    \\midrule"
    for row in rows:
        figures = [_figure(*pair) for pair in zip(row.entries, spreads, strict=True)]
        yield f"    {' & '.join([escaped(row.name), str(row.n), *figures])} \\\\"
    yield _END


def _half_widths(rows: Sequence[Row], columns: int) -> Iterator[list[str]]:
    """Those of every column."""
    for place in range(columns):
        yield [row.entries[place].half_width for row in rows]


def _heading(column: Column, has_spread: bool) -> str:
    measure = column.measure
    named = f"{measure.label}\N{NO-BREAK SPACE}{measure.arrow}"
    lines = wrap(named, HEADING_LETTERS, break_long_words=False)
    lines += [f"({measure.unit})"] if measure.unit else []
    stacked = "\\\\".join(map(escaped, lines))
    text = f"\\shortstack{{{stacked}}}"
    return f"\\multicolumn{{2}}{{c}}{{{text}}}" if has_spread else text


def _figure(entry: Entry, has_spread: bool) -> str:
    text = escaped(entry.text.replace("-", "\N{MINUS SIGN}"))
    text = f"\\textbf{{{text}}}" if entry.best else text
    return f"{text} & {_small(entry.half_width)}".rstrip() if has_spread else text


def _small(half_width: str) -> str:
    return f"{{\\scriptsize {escaped(half_width)}}}" if half_width else ""
