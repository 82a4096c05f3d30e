"""The printed table in parts, and as LaTeX."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import records, report
from bench.report.latex import HEAD, escaped, latex
from bench.report.parts import parts
from bench.report.table import Table
from tests.bench.report.report_store import FakeStore, example, only_section, table_of

PAPER = "https://arxiv.org/abs/1506.04214"


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return example(tmp_path / "artifacts")


@pytest.fixture
def table(store: FakeStore) -> Table:
    return table_of(store, only_section(store))


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def test_quality_stands_alone_and_what_all_share_is_said_once(table: Table) -> None:
    found = parts(table)
    assert names(found.quality) == ["mse", "skill", "ssim", "lpips", "psnr"]
    assert found.cost is not None
    assert names(found.cost) == ["train_samples_per_second", "predict_frames_per_second"]
    assert found.same == (
        "The same for all trained models: parameters 7.44 M, training 120.4 s, "
        "peak memory 1,024 MiB."
    )
    assert [row.label for row in found.quality.rows] == [row.label for row in table.rows]
    assert all(row.done for row in found.cost.rows)


def test_a_cost_of_one_trained_model_is_no_common_one(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("alone", 0.03)
    found = parts(table_of(store, only_section(store)))
    assert found.same == ""
    assert found.cost is not None
    assert "parameters" in names(found.cost)


def test_the_column_that_ranks_stays(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("a", 0.05)
    store.add("b", 0.05)
    assert names(parts(table_of(store, only_section(store))).quality)[0] == "mse"


def test_latex_has_the_best_bold_with_half_width_and_seeds(table: Table) -> None:
    lines = latex(table, "50 % of a_b").splitlines()
    assert "  \\caption{50 \\% of a\\_b}" in lines
    (row,) = (line.strip() for line in lines if "predrnn" in line)
    best = [entry for row in table.rows if row.label == "predrnn-small" for entry in row.entries]
    mse = f"\\textbf{{{best[0].text}}}" if best[0].best else best[0].text
    assert row.startswith(f"predrnn-small & 3 & {mse} & {{\\scriptsize $\\pm$ 0.00248}} & ")
    (kinds,) = (line.partition("{tabular}")[2] for line in lines if "begin{tabular}" in line)
    figures = [line for line in lines if line.endswith("\\\\") and "multicolumn" not in line]
    assert {line.count("&") + 1 for line in figures} == {kinds.count("r") + kinds.count("l")}
    assert not any("diverged" in line or "mine" in line for line in lines)


def test_no_name_is_a_command_of_latex() -> None:
    assert escaped("a_b\\input{x} 5 % & $y$ ~^#\n|") == (
        "a\\_b\\textbackslash{}input\\{x\\} 5 \\% \\& \\$y\\$ "
        "\\textasciitilde{}\\textasciicircum{}\\# \\textbar{}"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex in PATH")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_latex_compiles_and_fits_the_page(columns: str, tmp_path: Path) -> None:
    names = ("convlstm(width=64, loss='50%_l1&l2')", "[a] ~^\\x{y} #1 $z$ *", "e\u0301 µm² 中")
    store = FakeStore(tmp_path)
    for seed, name in itertools.product(range(2), (*names, "convlstm")):
        store.add(name, 0.03 + seed / 1000 + len(name) / 1000, seed=seed)
    text = latex(table_of(store, only_section(store)), f"{'; '.join(names)}: a ± b → 95 %")
    paper = tmp_path / "paper.tex"
    packages = "\\usepackage{booktabs}\\usepackage{graphicx}"
    paper.write_text(
        f"\\documentclass[{columns}]{{article}}{packages}"
        f"\\begin{{document}}{HEAD}{text}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", paper.name]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout
    assert "Output written on paper.pdf (1 page" in said
    assert "Overfull" not in said


@pytest.mark.usefixtures("undrawn")
def test_what_a_paper_needs_is_written_when_asked_and_renewed_where_it_is(
    store: FakeStore, tmp_path: Path
) -> None:
    out, tex = tmp_path / "out", tmp_path / "out" / "tables.tex"

    def plots(ending: str) -> set[str]:
        return {path.name.removesuffix(ending) for path in out.glob(f"plots/*{ending}")}

    report.build(store, "mnist", out)
    assert not tex.exists()
    assert plots(".svg")
    assert not plots(".pdf")
    tex.write_text("% my own\n")
    report.build(store, "mnist", out)
    assert tex.read_text() == "% my own\n"
    report.build(store, "mnist", out, latex=True)
    before = tex.read_text()
    assert before.count("\\toprule") == before.count("\\begin{table*}") == 4
    store.add("late", 0.01)
    report.build(store, "mnist", out)
    assert "late-small" in tex.read_text()
    assert "late-small" not in before
    assert plots("-wide.pdf") == plots(".svg")


@pytest.mark.usefixtures("undrawn")
def test_models_link_to_their_papers(store: FakeStore, tmp_path: Path) -> None:
    for run in store.runs:
        address = PAPER if run.params["model"] == "convlstm" else "javascript:alert(1)"
        run.tags[records.PAPER] = address
    page = report.build(store, "mnist", tmp_path / "out")
    markdown, text = page.with_name("report.md").read_text(), page.read_text()
    assert f'<a href="{PAPER}"' in text
    assert f"| [convlstm-small]({PAPER}) | 3 seeds | " in markdown
    assert "](javascript" not in markdown
    assert 'href="javascript' not in text
