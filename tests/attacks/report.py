"""What was seen, for people: a few lines for each scenario, and a Markdown table of all."""

from __future__ import annotations

from collections import Counter

from .honest import HEALTH, PREDICT, Figures
from .judge import Result

COLUMNS = [
    "scenario", "s", "attackers got", "honest got", "calm p50 / p99 / max ms", "attacked", "health attacked",
    "MB before / peak / after", "kernel MB", "processor s", "threads", "files", "back after s", "as expected",
]


def lines(result: Result) -> str:
    """A few lines about one scenario."""
    told = [f"  {name}: {value}" for name, value in zip(COLUMNS[1:], cells(result)[1:])]
    width = [told[at:at + 4] for at in range(0, len(told), 4)]
    text = "\n".join(";".join(part) for part in width)
    notes = [f"  note: {note}" for note in result.notes]
    return "\n".join([text, *notes, *(f"  BROKEN: {problem}" for problem in result.problems)])


def table(results: list[Result]) -> str:
    rows = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, results)]
    return "\n".join(f"| {' | '.join(map(in_a_cell, row))} |" for row in rows)


def in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def cells(result: Result) -> list[str]:
    figures, empty = result.figures, Figures(Counter(), [])
    before, peak, after = result.before, result.peak, result.after
    return [
        result.name,
        f"{result.seconds:.0f}",
        outcomes(result.outcomes),
        outcomes(figures.get(f"{PREDICT} attacked", empty).outcomes),
        figures.get(f"{PREDICT} calm", empty).milliseconds(),
        figures.get(f"{PREDICT} attacked", empty).milliseconds(),
        figures.get(f"{HEALTH} attacked", empty).milliseconds(),
        f"{before.memory:.0f} / {peak.memory:.0f} / {after.memory:.0f}",
        f"{peak.kernel:.0f}",
        f"{peak.processor:.1f}",
        f"{before.threads} / {peak.threads} / {after.threads}",
        f"{before.files} / {peak.files} / {after.files}",
        "never" if result.back is None else f"{result.back:.0f}",
        verdict(result),
    ]


def verdict(result: Result) -> str:
    if result.problems:
        return "NO: " + "; ".join(result.problems)
    return f"skipped: {result.skipped}" if result.skipped else "yes"


def outcomes(counter: Counter[str]) -> str:
    return ", ".join(f"{many} × {what}" for what, many in sorted(counter.items())) or "–"
