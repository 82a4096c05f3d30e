"""What to cite for a suite, as BibTeX: its models, its data sets, and nextframe."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__, records
from bench.suite import catalogue
from bench.suite.costs import is_of_the_house
from bench.suite.reference import split

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell

WORKS = Path(__file__).with_name("works.toml")
OURS = f"""\
@software{{nextframe,
  author = {{{{The nextframe developers}}}},
  title = {{nextframe: a benchmark harness for video prediction}},
  version = {{{__version__}}},
  year = {{2026}}
}}
"""
_TYPES = {"booktitle": "inproceedings", "journal": "article", "institution": "techreport"}


@cache
def works() -> Mapping[str, Mapping[str, Any]]:
    """The works by their BibTeX keys; `of` are the names of the models and data sets of each."""
    return tomllib.loads(WORKS.read_text(encoding="utf-8"))


def bibtex(names: Collection[str]) -> str:
    """The entries of the works that the models and data sets of these names rest on, and ours.

    A comment names those for which none is known, such as a user's own.
    """
    cited = {key: work for key, work in works().items() if set(names) & set(work["of"])}
    unknown = sorted(set(names).difference(*(work["of"] for work in cited.values())))
    comment = [f"% no reference is known for {', '.join(unknown)}\n"] if unknown else []
    return "\n".join([*comment, *(_entry(*each) for each in cited.items()), OURS])


def names_of(runs: Iterable[RecordedCell]) -> set[str]:
    """The models and data sets of those of the `runs` that are done, as `bibtex` takes them."""
    models, datasets = set(), set()
    for run in runs:
        if run.is_done:
            models.add(run.params["model"])
            further = json.loads(run.params.get(records.ALSO_TESTED_ON, "[]"))
            datasets |= {run.params["dataset"], *further}
    bare = [{split(label)[0] for label in labels} for labels in (models, datasets)]
    return {name for name in bare[0] if is_cited(name)} | bare[1]


def is_cited(model: str) -> bool:
    """Whether a model of that name rests on a paper, or may do so, as one that is not ours."""
    known = catalogue.all_models().get(model)
    return known is None or known.paper is not None or not is_of_the_house(known)


def _entry(key: str, work: Mapping[str, Any]) -> str:
    kind = next((kind for field, kind in _TYPES.items() if field in work), "misc")
    fields = {name: str(value) for name, value in work.items() if name != "of"}
    # A second pair of braces keeps the capitals of a title.
    fields["title"] = f"{{{fields['title']}}}"
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}\n"
