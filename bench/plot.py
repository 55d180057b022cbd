# SPDX-License-Identifier: Apache-2.0
"""Signatures a second as a picture, by gnuplot."""

import statistics
import subprocess
from pathlib import Path

from result import Ratio

SCRIPT = """\
set terminal pngcairo noenhanced size 1000,{height} font "sans,11"
set output "{output}"
set title "signatures a second, median of the rounds of one run"
set style fill solid 0.8
set xrange [0:*]
set yrange [{last}:-1]
set grid xtics
set key off
set bmargin 3
set tics nomirror
set border 3
set lmargin 58
plot "-" using ($2/2):0:($2/2):(0.35):($3):ytic(1) with boxxyerror lc variable, \\
     "-" using 2:0:(sprintf(" %.0f", $2)) with labels left
{rows}e
{rows}e
"""
FLOOR, OURS, PEER = 8, 2, 4  # of gnuplot's line types


def colour_of(name: str) -> int:
    if name.startswith("floor"):
        return FLOOR
    return OURS if name.startswith("lct") else PEER


def draw(results: list[tuple[str, object]], output: Path):
    """A bar for each rate of the part signing, in the order of the table."""
    rows = []
    for part, result in results:
        if part == "signing" and isinstance(result, Ratio):
            rows += [(f"{result.name}: {name}", statistics.median(rates), colour_of(name))
                     for name, rates in result.rates.items()]
    text = "".join(f'"{name}" {rate:.1f} {colour}\n' for name, rate, colour in rows)
    script = SCRIPT.format(output=output, rows=text, last=len(rows), height=120 + 24 * len(rows))
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
