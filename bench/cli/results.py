"""The verbs for what was measured: report, cite, verify, diff and predict."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from bench.cli.options import Places, UserPath, suite_name, unset
from bench.errors import UserError


@dataclass(frozen=True)
class Report:
    """Write a suite's report again, from MLflow alone."""

    suite: str
    """Name of the suite, as MLflow's experiment is called."""
    compare: Annotated[str | None, unset("OTHER_SUITE")] = None
    """Show the trained cells of this suite, too, wherever they may be compared."""
    out: Annotated[UserPath | None, unset("DIR")] = None
    """Folder to write to (default: RESULTS/SUITE/report, or RESULTS/SUITE/beside-OTHER_SUITE)."""
    latex: bool = False
    """Add tables.tex (booktabs) and plots as PDF, for a paper; later reports renew them."""
    publish: Annotated[UserPath | None, unset("SITE")] = None
    """Write it into SITE/SUITE, and SITE/index.html of all reports there, for any web host."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Write the report."""
        from bench.console import waiting

        name = suite_name(self.suite)
        other = suite_name(self.compare) if self.compare else None
        if self.out and self.publish:
            raise UserError("--out and --publish both say where to: give one")
        if self.publish:
            out = self.publish / (f"{name}-beside-{other}" if other else name)
        else:
            kind = f"beside-{other}" if other else "report"
            out = self.out or self.places.results / name / kind
        with waiting(f"writing the report of {name}"):
            from bench import report
            from bench.report import site

            path = report.build(self.places.store(), name, out, other, latex=self.latex)
        sys.stdout.write(f"{path}\n")
        if self.publish:
            sys.stdout.write(f"{site.index(self.publish)}\n")
        return 0


@dataclass(frozen=True)
class Cite:
    """Print what to cite for a suite, as BibTeX: its models, its data sets and nextframe.

    Of a suite of which something is recorded that is what was run; else, what its file names.
    """

    suite: str
    """Name of a suite, or path to a TOML file."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Print the entries."""
        from bench.literature.cite import bibtex

        sys.stdout.write(bibtex(self._run() or self._listed()))
        return 0

    def _run(self) -> set[str]:
        """The models and data sets of its finished cells; none where nothing is recorded."""
        from bench.literature.cite import names_of
        from bench.store.errors import NoStore

        try:
            store = self.places.store()
        except NoStore:
            if self.places.tracking_uri:
                raise
            return set()
        name = suite_name(self.suite)
        return names_of(store.cells(name) if name in store.suites() else ())

    def _listed(self) -> set[str]:
        """The models and data sets of its file."""
        from bench.literature.cite import is_cited
        from bench.suite import catalogue
        from bench.suite.suite import load_suite

        suite = load_suite(self.suite)
        also = suite.evaluation.also_test_on or ()
        models = {catalogue.model(reference).name for reference in suite.models}
        datasets = {catalogue.dataset(reference).name for reference in (*suite.datasets, *also)}
        return {name for name in models if is_cited(name)} | datasets


@dataclass(frozen=True)
class Verify:
    """Train and score a finished cell anew, elsewhere, and say whether that gives the same.

    Exits with 1 where it differs. The store is only read.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest finished run)."""
    steps: Annotated[int | None, unset("N")] = None
    """Only the first steps, whose training loss is compared (default: all, and the scores)."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Run it again and print the verdict."""
        from bench.console import SCREEN

        with SCREEN.waiting("starting"):
            from bench.compare import verify
        return verify.verify(self.places.store(), self.run, SCREEN, self.steps)


@dataclass(frozen=True)
class Diff:
    """Say what differs between two runs: settings, code, data, environment, scores, costs."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest run)."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """The other."""
    format: Literal["table", "json"] = "table"
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Print the differences."""
        from bench.console import waiting

        with waiting("starting"):
            from bench.compare import diff
        return diff.diff(self.places.store(), (self.first, self.second), self.format)


@dataclass(frozen=True)
class Predict:
    """Continue one's own videos with the model of a finished cell, or say what they show."""

    model: Annotated[str, tyro.conf.arg(metavar="RUN")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest finished run)."""
    input: UserPath
    """Video, array of clips (.npy), folder of images, or folder of any of these."""
    out: UserPath
    """Folder to write to."""
    horizon: Annotated[int | None, unset("FRAMES")] = None
    """Frames to predict (default: as many as in training)."""
    format: Literal["png", "npy", "mp4", "gif"] = "png"
    """png: a picture a frame; npy: one array; mp4, gif: what was given and what follows."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Write into a folder that holds something."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Write the predictions."""
        from bench.console import waiting

        with waiting("starting"):
            from bench.predict import predict
        return predict.predict(
            self.model,
            self.places.uri,
            self.input,
            self.out,
            self.horizon,
            self.format,
            self.device,
            self.overwrite,
        )
