"""report.html, report.md, table.csv, scores.parquet and pictures, from finished chapters."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from bench import PROGRAM
from bench.errors import UserError
from bench.escape import markdown as _plain
from bench.escape import web_address
from bench.literature.published import CERTAINTY
from bench.report.cells import each
from bench.report.claims.finding import Finding
from bench.report.claims.markdown import markdown as claims_markdown
from bench.report.classes import ClassRow, ClassTable
from bench.report.confidence import Confidence
from bench.report.elsewhere import ElsewhereTable
from bench.report.elsewhere import markdown as elsewhere_markdown
from bench.report.frames import Strip
from bench.report.latex import HEAD, latex
from bench.report.overview import Overview, overview
from bench.report.overview import markdown as overview_markdown
from bench.report.parts import Parts, parts
from bench.report.plots.canvas import ONE_COLUMN, TWO_COLUMNS, Picture, Plot, Style, pdf
from bench.report.plots.sweeps import Sweep
from bench.report.published import PublishedTable
from bench.report.published import markdown as published_markdown
from bench.report.section import Section
from bench.report.statistics.best import Best
from bench.report.statistics.ranks import Ranks
from bench.report.statistics.target import Target
from bench.report.table import Entry, Row, Table, against_copy_last, beyond_mean_error, csv, printed
from bench.report.verdict import status_words
from bench.report.viewer import Viewer, error_colors
from bench.score.metrics import RECORDED

BEYOND = "Beyond the mean error: where frames change, and how far ahead"
AGAINST = "Skill against copy-last by every measure"
TEX = "tables.tex"
SCORES = "scores.parquet"
"""The scores by test sequence that every interval can be recomputed from."""
FORMATS = (".png", ".svg", ".pdf", "-wide.pdf")
UNFINISHED = ".new-"  # begins the name of the folder where a report is made
LEFT_SECONDS = 3600  # after which such a folder is nobody's

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
TEMPLATES.filters["breakable"] = lambda name: escape(name).replace("_", Markup("_<wbr>"))
TEMPLATES.filters["unbroken"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
TEMPLATES.filters["drawing"] = lambda picture: Markup(picture.svg)  # noqa: S704 - our own SVG


@dataclass(frozen=True)
class Chapter:
    """A section with everything the report shows of it; each table is made once."""

    section: Section
    summary: pd.DataFrame
    verdict: tuple[str, ...]
    """Sentences, of which the first is the answer."""
    confidence: Confidence
    plots: list[Plot]
    heading: str = ""
    best: Best = field(default_factory=Best)
    sure: tuple[str, ...] = ()
    target: Target | None = None
    strips: list[Strip] = field(default_factory=list)
    viewer: Viewer | None = None
    classes: ClassTable | None = None
    confusions: list[Picture] = field(default_factory=list)

    @cached_property
    def table(self) -> Table:
        """The printed table."""
        return printed(self.section, self.summary, self.best)

    @cached_property
    def parts(self) -> Parts:
        """The printed table as it is shown: quality, cost, and what is the same in every row."""
        return parts(self.table)

    @cached_property
    def further(self) -> dict[str, Table]:
        """The tables beside it, by title."""
        found = {
            "Cost": self.parts.cost,
            BEYOND: self.beyond_mean_error,
            AGAINST: self.against_copy_last,
        }
        return {title: table for title, table in found.items() if table}

    @cached_property
    def latex(self) -> dict[str, str]:
        """All of them as LaTeX, by title; the main one's is ""."""
        shown = self.parts
        spread = any(entry.half_width for row in shown.quality.rows for entry in row.entries)
        about = self.heading + ": mean over seeds ± half the 95 % interval" * spread
        under = " ".join(filter(None, (shown.same, shown.quality.note)))
        found = {"": latex(shown.quality, f"{about}; {self.section.setting}. {under}".strip())}
        return found | {
            title: latex(table, f"{title}. {about}.") for title, table in self.further.items()
        }

    @property
    def copies(self) -> dict[str, str]:
        """The main table as the page copies it, by format."""
        table = self.parts.quality
        return {
            "LaTeX": self.latex[""],
            "Markdown": "\n".join(_markdown_table(table)) + "\n",
            "CSV": csv([self.summary]),
        }

    @cached_property
    def against_copy_last(self) -> Table | None:
        """The printed table of skills."""
        return against_copy_last(self.section, self.summary, self.best)

    @cached_property
    def beyond_mean_error(self) -> Table | None:
        """The printed table of what a mean error does not say."""
        return beyond_mean_error(self.summary, self.best)

    @property
    def pictures(self) -> list[Picture | Strip]:
        """All of them, in the order they are shown."""
        return [*chain.from_iterable(self.plots), *self.strips, *self.confusions]

    @property
    def notices(self) -> list[str]:
        """Notices of the data set, padded models, and why figures are missing."""
        cells, metrics = self.section.cells, RECORDED[self.section.task]
        reasons = (
            f"{metrics[name].label if name in metrics else name} not measured for some cells: {why}"
            for missing in cells["not_measured"]
            for name, why in missing.items()
        )
        padded = (
            f"{label} works on larger frames, padded from {sizes} by repeating their edges."
            for label, sizes in zip(cells["label"], cells["padded"], strict=True)
            if sizes
        )
        return list(dict.fromkeys([*filter(None, cells["notice"]), *padded, *reasons]))

    @property
    def shared_facts(self) -> dict[str, str]:
        """The recorded facts that all trained cells share."""
        done = self.section.done
        trained = done[~done["baseline"]]
        known = (self.section.cells if trained.empty else trained)["facts"]
        first: dict[str, str] = known.iloc[0]
        return {
            key: value
            for key, value in sorted(first.items())
            if all(facts.get(key) == value for facts in known)
        }


def _apart(facts: dict[str, str], shared: dict[str, str]) -> dict[str, str]:
    """The facts of one cell that differ from the shared ones."""
    return {key: facts[key] for key in sorted(facts) if facts[key] != shared.get(key)}


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report holds; `other` is the suite shown beside, where there is one."""

    suite: str
    chapters: Sequence[Chapter]
    styles: dict[str, Style]
    other: str | None = None
    ranks: Sequence[Ranks] = ()
    sweeps: Sequence[Sweep] = ()
    elsewhere: Sequence[ElsewhereTable] = ()
    claims: Sequence[Finding] = ()
    published: Sequence[PublishedTable] = ()
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    """By test sequence."""
    latex: bool = False
    """Whether its tables are written as LaTeX, too; a file of them that is there is kept anew."""

    @property
    def title(self) -> str:
        """The suites."""
        return f"{self.suite} beside {self.other}" if self.other else self.suite

    @property
    def opening(self) -> Viewer | None:
        """What the page plays at its top: one test sequence of the first section."""
        viewer = self.chapters[0].viewer
        return viewer.opening if viewer else None

    @property
    def overview(self) -> Overview | None:
        """The table over all sections, where there are several."""
        return overview(self.chapters)

    @property
    def has_many(self) -> bool:
        """Whether it has so many models that plots show some behind the others."""
        return any(style.is_behind for style in self.styles.values())

    @property
    def tests_claims(self) -> bool:
        """Whether claims are what the suite is about, and so come first."""
        return self.suite.startswith("claims-")

    @property
    def command(self) -> str:
        """The command line that writes it."""
        compare = ["--compare", self.other] if self.other else []
        return shlex.join([*PROGRAM.split(), "report", "--suite", self.suite, *compare])

    @property
    def pictures(self) -> Iterator[Picture | Strip]:
        """All of them."""
        for table in self.ranks:
            yield from chain.from_iterable(table.plots)
        for sweep in self.sweeps:
            yield from chain.from_iterable(sweep.plots)
        for chapter in self.chapters:
            yield from chapter.pictures


def write(report: Report, out: Path) -> Path:
    """The path of report.html, after everything is written under `out`.

    Raises:
        UserError: `out` cannot be written to; it holds the report that it held.
    """
    has_tex = report.latex or _begins_with(out / TEX, HEAD)
    return put(partial(_write_files, replace(report, latex=has_tex)), out)


def put(write_files: Callable[[Path], Iterable[str]], out: Path) -> Path:
    """The path of report.html, after everything is written under `out`.

    All files are complete before the first takes its place, the page last: until then `out` holds
    the report that it held.

    Args:
        write_files: writes them under a folder, the page last, and gives their names.
        out: where they go.

    Raises:
        UserError: `out` cannot be written to; it holds the report that it held.
    """
    try:
        (out / "plots").mkdir(parents=True, exist_ok=True)
        for left in out.glob(f"{UNFINISHED}*"):  # by a process that was killed long ago
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=out) as new:
            names = [*write_files(Path(new))]
            stale = _pictures_of(out / "report.md") - {*names}
            for name in names:
                (Path(new) / name).replace(out / name)
        for name in stale:  # the report there showed other plots, or numbered them otherwise
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        where = error.filename2 or error.filename or out
        why = f"{error.strerror or error} ({where})"
        raise UserError(f"the report cannot be written to {out}: {why}") from error
    return out / "report.html"


def _begins_with(path: Path, text: str) -> bool:
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(text)) == text
    return False


def _pictures_of(page: Path) -> set[str]:
    """The files of the pictures that the report.md at `page` shows, in every form there may be."""
    with contextlib.suppress(OSError):
        stems = re.findall(r"\]\((plots/[^/()]+)\.png\)", page.read_text("utf-8", "replace"))
        return {f"{stem}{ending}" for stem in stems for ending in FORMATS}
    return set()


def _write_files(report: Report, out: Path) -> Iterator[str]:
    """Write every file under `out`, the page last; their names."""
    (out / "plots").mkdir()
    for picture in report.pictures:
        for ending, content in _files(picture, for_paper=report.latex):
            name = f"plots/{picture.name}{ending}"
            (out / name).write_bytes(content)
            yield name
    report.scores.to_parquet(out / SCORES, compression="zstd")
    yield SCORES
    texts = {
        "table.csv": csv([chapter.summary for chapter in report.chapters]),
        **({TEX: _latex(report)} if report.latex else {}),
        "report.md": "\n".join(_markdown(report)),
        "report.html": _page(report),
    }
    for name, text in texts.items():  # a name from a file system may hold what UTF-8 does not
        (out / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        yield name


def _files(picture: Picture | Strip, *, for_paper: bool) -> Iterator[tuple[str, bytes]]:
    """The endings and contents of the files of a picture: for a screen, and for a paper."""
    yield ".png", picture.png
    if isinstance(picture, Picture):
        yield ".svg", picture.plain_svg.encode("utf-8", "backslashreplace")
        if for_paper:
            yield ".pdf", pdf(picture, ONE_COLUMN)
            yield "-wide.pdf", pdf(picture, TWO_COLUMNS)


def _latex(report: Report) -> str:
    tables = chain.from_iterable(chapter.latex.values() for chapter in report.chapters)
    return "\n".join((HEAD, *tables))


def _page(report: Report) -> str:
    template = TEMPLATES.get_template("report.html")
    return template.render(
        report=report,
        program=PROGRAM,
        words=status_words,
        certainty=CERTAINTY,
        apart=_apart,
        error_colors=error_colors(),
        beyond=BEYOND,
        against=AGAINST,
    )


def _markdown(report: Report) -> Iterator[str]:
    first, *others = report.chapters
    yield f"# {_plain(report.title)}\n\n{_plain(first.verdict[0])}\n"
    yield _markdown_confidence(first.confidence)
    if first.strips:
        yield _markdown_picture(first.strips[0])
    if report.overview:
        yield from overview_markdown(report.overview)
    if report.tests_claims:
        yield from claims_markdown(report.claims)
    for table in report.ranks:
        yield from _markdown_ranks(table)
    for sweep in report.sweeps:
        yield f"\n## {_plain(sweep.title)}\n\n{_plain(sweep.setting)}"
        yield from (f"\n{_plain(note)}" for note in sweep.notes)
        yield from map(_markdown_picture, chain.from_iterable(sweep.plots))
    yield from elsewhere_markdown(report.elsewhere)
    for chapter in report.chapters:
        said = chapter.verdict if others else chapter.verdict[1:]
        yield f"\n## {_plain(chapter.heading)}\n\n{_plain(' '.join(said))}\n"
        if others:
            yield f"{_markdown_confidence(chapter.confidence)}\n"
        yield _plain(chapter.section.setting) + "\n"
        yield from (f"> {_plain(notice)}\n" for notice in chapter.notices)
        yield from _markdown_table(chapter.parts.quality)
        if chapter.parts.same:
            yield f"\n{_plain(chapter.parts.same)}"
        for title, further in chapter.further.items():
            yield f"\n<details><summary>{title}</summary>\n"
            yield from _markdown_table(further)
            yield "\n</details>"
        if chapter.target:
            yield f"\n<details><summary>{_plain(chapter.target.title)}</summary>\n"
            yield from _markdown_table(chapter.target.table)
            yield f"\n{_plain(chapter.target.legend)}\n\n</details>"
        if chapter.sure:
            yield "\n<details><summary>How sure</summary>\n"
            yield from (f"- {_plain(sentence)}" for sentence in chapter.sure)
            yield "\n</details>"
        if chapter.classes:
            yield from _markdown_classes(chapter.classes)
        yield from map(_markdown_picture, chapter.pictures)
        yield "\n| cell | MLflow run | the line that runs it again |\n|---|---|---|"
        for cell in each(chapter.section.cells):
            name, run, command = (_plain(cell[key]) for key in ("name", "run_id", "command"))
            link = f"[{run}]({web_address(cell['page'])})" if run else ""
            yield f"| {name} | {link} | <code>{command}</code> |"
    if not report.tests_claims:
        yield from claims_markdown(report.claims)
    yield from published_markdown(report.published)


def _markdown_confidence(confidence: Confidence) -> str:
    return f"**{confidence.label}**: {_plain(confidence.said)}."


def _markdown_picture(picture: Picture | Strip) -> str:
    by = f", by {picture.choice}" if isinstance(picture, Picture) and picture.choice else ""
    return f"\n![{_plain(picture.title + by)}](plots/{picture.name}.png)"


def _markdown_ranks(ranks: Ranks) -> Iterator[str]:
    yield f"\n## {_plain(ranks.title)}\n\n{_plain(ranks.verdict)}\n\n{_plain(ranks.setting)}\n"
    skill = ["IQM of skill (%) ↑", f"worse than {_plain(ranks.best)} (%)"] if ranks.skills else []
    yield f"| model | mean rank ↓ | {' | '.join([*skill, *map(_plain, ranks.datasets)])} |"
    yield "|---|--:|" + "--:|" * (len(skill) + len(ranks.datasets))
    for row in ranks.rows:
        figures = [row.iqm, row.improvement] if ranks.skills else []
        yield f"| {_plain(row.name)} | {row.mean} | {' | '.join([*figures, *row.ranks])} |"
    yield from (f"\n{_plain(note)}" for note in ranks.notes)
    yield from map(_markdown_picture, chain.from_iterable(ranks.plots))


def _markdown_table(table: Table) -> Iterator[str]:
    yield ("| model | seeds | " + " | ".join(column.heading for column in table.columns) + " |")
    yield "|---|---|" + "--:|" * len(table.columns)
    for row in table.rows:
        if row.done:
            figures = " | ".join(_figure(entry) for entry in row.entries)
            yield f"| {_linked(row)} | {row.counted} | {figures} |"
        else:
            why = f"{status_words(row.status)}: {row.reason}".removesuffix(": ")
            again = "<br>".join(f"<code>{_plain(line)}</code>" for line in row.command.splitlines())
            line = f"{_plain(why)}; run again: {again}"
            yield f"| {_linked(row)} | {row.counted} | {line} |" + " |" * len(row.entries[1:])
    if table.note:
        yield f"\n{_plain(table.note)}"


def _linked(row: Row) -> str:
    return f"[{_plain(row.name)}]({row.paper})" if row.paper else _plain(row.name)


def _markdown_classes(classes: ClassTable) -> Iterator[str]:
    if classes.is_long:
        yield f"\nThe hardest {len(classes.hardest)} of {len(classes.rows)} classes:\n"
        yield from _markdown_class_rows(classes.models, classes.hardest)
        yield "\n<details><summary>All classes</summary>"
    yield "\nTop-1 per video (%) by class:\n"
    yield from _markdown_class_rows(classes.models, classes.rows)
    if classes.is_long:
        yield "\n</details>"


def _markdown_class_rows(models: tuple[str, ...], rows: tuple[ClassRow, ...]) -> Iterator[str]:
    yield f"| class | videos | {' | '.join(map(_plain, models))} |"
    yield "|---|--:|" + "--:|" * len(models)
    for row in rows:
        figures = " | ".join(_figure(entry) for entry in row.entries)
        yield f"| {_plain(row.name)} | {row.videos} | {figures} |"


def _figure(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    return f"{text} {entry.half_width}".strip()
