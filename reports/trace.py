#!/usr/bin/env python3
"""Recomputes medians and crossovers of a report from the raw samples of its run, by a path of its own: no data frames, none of the report's code.

    trace.py RUN REPORT [--cells 50] [--seed 1]

Of cells drawn at random (those of --seed) the median of `cells.csv` must be that of the accepted samples in the journal. Of every line of
`crossovers.csv` the ratio where it pays (or comes nearest) must be that of the samples, held against the strong baseline as it is defined in
METHODOLOGY.md, and its crossing must lie between two measured sizes whose ratios lie on either side of 1. Exits with 1 where a figure cannot be
traced, with 2 where the files cannot be read.
"""

import argparse
import collections
import csv
import json
import pathlib
import random
import statistics
import sys

# Medians are whole nanoseconds, ratios the quotients of such.
CLOSE = 0.002
EXACT = 2.0


def records(run):
    """The last record of each cell."""
    lines = (pathlib.Path(run) / "journal.txt").read_text(encoding="utf-8").splitlines()
    cells = {}
    for line in lines[1:]:
        record = json.loads(line.split(" ", 4)[4])
        cells[record["id"]] = record
    return cells


def per_call(samples):
    return statistics.median(sample["ns"] / sample["calls"] for sample in samples)


def accepted(record, rounds=None):
    """The undisturbed samples of these rounds, or all where every one was disturbed."""
    wanted = [sample for sample in record["samples"] if rounds is None or sample["round"] in rounds]
    return [sample for sample in wanted if not sample["rejected"]] or wanted


def ratio(cells, record):
    """The cell's time over its baseline's in the rounds in which the cell was sampled; nothing where that is not known from samples alone."""
    if record["baseline"]:
        return 1.0
    base = cells.get((record.get("beside") or {}).get("id"))
    own = accepted(record)
    if base is None or not own:
        return None
    rounds = {sample["round"] for sample in record["samples"]}
    theirs = accepted(base, rounds)
    # Where the group was measured in parts, this baseline's samples are of another part.
    if len(theirs) != record["beside"]["samples"] or not theirs:
        return None
    return per_call(own) / per_call(theirs)


def exact_variants(cells):
    """Variants that never err more than twice as much as the plain operation in the same precision."""
    worst = collections.defaultdict(float)
    for record in cells.values():
        error = (record["accuracy"] or {}).get("error_ratio")
        if record["status"] == "ok" and error is not None:
            key = (record["variant"], record["axes"].get("precision"))
            worst[key] = max(worst[key], error)
    return {key for key, error in worst.items() if error <= EXACT}


def strong_ratio(cells, exact, record):
    """The cell's time over that of the fastest exact cell of its set, by ratios to the declared baseline that both share."""
    own = ratio(cells, record)
    key = (record["variant"], record["axes"].get("precision"))
    if own is None or record["baseline"] or key in exact:
        return own
    base = record["beside"]["id"]
    rivals = []
    for other in cells.values():
        same = all(other["axes"].get(axis) == record["axes"].get(axis) for axis in ("precision", "threads")) and other["engine"] == record["engine"]
        other_base = other["id"] if other["baseline"] else (other.get("beside") or {}).get("id")
        is_exact = other["baseline"] or (other["variant"], other["axes"].get("precision")) in exact
        if same and is_exact and other_base == base and other["status"] == "ok":
            rivals.append(ratio(cells, other))
    if None in rivals:
        return None
    return own / min(rivals, default=1.0)


def near(told, recomputed):
    return abs(told / recomputed - 1.0) <= CLOSE


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def trace_cells(cells, report, count, seed):
    timed = [row for row in rows(report / "cells.csv") if row["median_ns"]]
    drawn = random.Random(seed).sample(timed, min(count, len(timed)))
    for row in drawn:
        recomputed = per_call(accepted(cells[row["id"]]))
        if not near(float(row["median_ns"]), recomputed):
            yield f"cells.csv, {row['id']}: median {row['median_ns']} ns, the samples say {recomputed}"
    print(f"{len(drawn)} of {len(timed)} timed cells recomputed from their samples")


def trace_crossovers(cells, report):
    exact, traced, told = exact_variants(cells), 0, rows(report / "crossovers.csv")
    for row in told:
        recomputed = strong_ratio(cells, exact, cells[row["id"]])
        if recomputed is None:
            continue
        traced += 1
        where = f"crossovers.csv, {row['variant']} on {row['engine']} over {row['axis']} ({row['id']})"
        if not near(float(row["ratio"]), recomputed):
            yield f"{where}: ratio {row['ratio']}, the samples say {recomputed}"
        if float(cells[row["id"]]["axes"][row["axis"]]) != float(row["at"]):
            yield f"{where}: the cell is not at {row['axis']} = {row['at']}"
        if row["crossing"] and not float(row["from"]) <= float(row["crossing_low"]) <= float(row["crossing"]) <= float(row["crossing_high"]) <= float(row["to"]):
            yield f"{where}: the crossing {row['crossing']} is not within its interval and the measured range"
    print(f"{traced} of {len(told)} crossovers recomputed from the samples of their cells")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        cells = records(arguments.run)
        faults = list(trace_cells(cells, arguments.report, arguments.cells, arguments.seed)) + list(trace_crossovers(cells, arguments.report))
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(f"cannot trace: {error!r}", file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
