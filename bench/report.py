# SPDX-License-Identifier: Apache-2.0
"""Results as lines of a table, and as JSON."""

import dataclasses

from result import Amount, Commands, Ratio

MARKS = {True: "reached", False: "MISSED", None: ""}


def line(result: Ratio | Amount | Commands) -> str:
    """A row of the table; where there is a note it goes under it."""
    if isinstance(result, Commands):
        text = f"{result.name:58} {len(result.commands):3}  {' '.join(result.commands)}"
    elif isinstance(result, Amount):
        limit = f"<= {result.at_most:g}" if result.at_most is not None else ""
        text = (f"{result.name:58} {result.value:8.2f} {result.unit:15} {limit:8}"
                f" {MARKS[result.reached]}")
    else:
        spread = f"{min(result.rounds):.2f}-{max(result.rounds):.2f}"
        text = (f"{result.name:58} {result.median:8.2f} {spread:15} {result.bound:8}"
                f" {MARKS[result.reached]}")
    return text.rstrip() + (f"\n    {result.note}" if result.note else "")


def document(results: list[tuple[str, Ratio | Amount | Commands]]) -> dict:
    """All of it: by part, each with its kind and, of a ratio, median, minimum and maximum."""
    parts: dict[str, list] = {}
    for part, result in results:
        row = {"kind": type(result).__name__.lower()} | dataclasses.asdict(result)
        if isinstance(result, Ratio):
            row |= {"median": result.median, "min": min(result.rounds), "max": max(result.rounds)}
        if not isinstance(result, Commands):
            row["reached"] = result.reached
        parts.setdefault(part, []).append(row)
    return parts
