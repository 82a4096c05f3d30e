"""The section of report.md on claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.escape import markdown as plain
from bench.report.claims.finding import Finding, Trial


def markdown(found: Sequence[Finding]) -> Iterator[str]:
    """The section, line by line; nothing without a claim."""
    if found:
        yield "\n## Claims of earlier studies"
    for finding in found:
        claim = finding.claim
        yield f"\n### {plain(claim.sentence)}\n"
        yield f"**{finding.verdict.capitalize()}**, {plain(finding.scope)}.\n"
        yield f"Claimed by {plain(claim.source)}.\n"
        yield from (f"- {plain(line)}" for line in finding.published)
        yield from (f"- Convention {plain(line)}" for line in finding.conventions)
        if claim.note:
            yield f"\n{plain(claim.note)}"
        for trial in finding.trials:
            yield from _trial(trial)
        if claim.defects:
            yield "\nDefects of the published experiment:\n"
        for number, defect in enumerate(claim.defects):
            yield f"- {plain(defect.what)}"
            for trial in finding.trials:
                yield from (f"  - {trial.budget}: {plain(said)}" for said in trial.effects[number])


def _trial(trial: Trial) -> Iterator[str]:
    yield f"\n{trial.verdict.capitalize()} · {trial.counted} · {plain(trial.setting)}\n"
    yield f"- **{trial.primary.told}** · {plain(trial.primary.said)}"
    yield from (f"- robustness: {test.told} · {plain(test.said)}" for test in trial.robustness)
