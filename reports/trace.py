#!/usr/bin/env python3
"""Recomputes a report's medians and crossovers from the raw samples of its runs, by a path of its own: no data frames, none of the report's code.

    trace.py RUN [RUN ..] REPORT [--cells 50] [--seed 1]

Name all runs that the report is of. What is checked, and against what:

* Of cells of `cells.csv` drawn at random (those of --seed): the median is that of the undisturbed samples in the journal.
* Of every line of `crossovers.csv`:
  - its points: the journal has as many cells of this variant, engine, precision and threads that agree with the line's `setting` and differ
    in the moving axis; as many of them have a ratio, failed, or are without a rival as it says, over the range that it says;
  - `exact`, by the errors in the journal;
  - the ratio to the strong baseline (METHODOLOGY.md) at *every* point, from the samples of the cell, of its rival, and of the declared baseline
    in the rounds of each;
  - `ratio` and `at`: of the first point that is faster, or of the best one;
  - the verdict and the number of faster points: by these ratios, the run's noise floor, and the ends of the intervals that the journal's records
    have. (The intervals are not reckoned anew. Where the rounding of medians to nanoseconds decides, either state is taken for right.)
  - whether it pays, by the verdict and the error in the journal;
  - the crossing: the ratios on either side of it lie on either side of 1, in the verdict's direction, and the line between them meets 1 there; it
    is between the points that the verdict changes at, and within its own interval. (The ends of that interval are not reckoned anew.)

Where a group was measured in parts, the baseline's samples of a cell's rounds may be in no record. Such a line is checked with the median that
the record has of them; it does not count as recomputed and is counted apart. Exits with 1 where a figure cannot be traced, or where nothing at
all was; with 2 where the files cannot be read.
"""

import argparse
import array
import collections
import csv
import itertools
import json
import math
import pathlib
import random
import re
import statistics
import sys

# The exact ones never err more than this times the error of the plain operation, or of the declared baseline that computes the same.
EXACT = 2.0
SAME_FUNCTION = [
    {"model/decode", "model/decode-recompute"},
    {"softmax/cross-entropy-tiled", "softmax/cross-entropy"},
    {"softmax/top-k-fused", "softmax/top-k-unfused"},
]
# Verdicts by the states from small to large: faster, slower, even.
VERDICTS = {
    "everywhere": "F+",
    "never": "S+",
    "by": "E+F+",
    "from": "[SE]*S[SE]*F+",
    "up-to": "F+E*S[SE]*",
    "mixed": "[FSE]*(F[FSE]*S[FSE]*F|S[FSE]*F[FSE]*S)[FSE]*",
}
# What pays errs less.
WRONG = 0.1
# Of a run that did not measure its noise (METHODOLOGY.md, "The noise floor of a run").
ASSUMED_FLOOR = 0.05
# Records that are written together are this far apart at most, in milliseconds; the next part of a group takes longer to begin.
SAME_PART = 20
# Points whose state rounding decides: of more, only some combinations are tried.
TOO_MANY = 12


class Cell:
    """What the journal says of a cell; its samples as arrays, for there are many."""

    def __init__(self, run, record):
        self.run = run
        for name in ("id", "group", "machine", "variant", "engine", "axes"):
            setattr(self, name, record[name])
        self.is_declared, self.is_ok = record["baseline"], record["status"] == "ok"
        speed, accuracy = record.get("speed") or {}, record.get("accuracy") or {}
        self.is_timed, self.ends = bool(speed), (speed.get("ci_low_ns"), speed.get("ci_high_ns"))
        self.error, self.error_ratio = accuracy.get("err_method_rel"), accuracy.get("error_ratio")
        self.beside, self.finished = record.get("beside") or {}, record["finished_unix_ms"]
        self.rounds = array.array("L", (sample["round"] for sample in record["samples"]))
        self.times = array.array("d", (sample["ns"] / sample["calls"] for sample in record["samples"]))
        self.rejected = bytearray(sample["rejected"] for sample in record["samples"])

    def median(self, rounds=None):
        """Of the undisturbed samples of these rounds, or of all where every one was disturbed; and how many they are."""
        wanted = [(time, rejected) for of, time, rejected in zip(self.rounds, self.times, self.rejected) if rounds is None or of in rounds]
        accepted = [time for time, rejected in wanted if not rejected] or [time for time, _ in wanted]
        return (statistics.median(accepted), len(accepted)) if accepted else (None, 0)

    def regime(self):
        return tuple(self.axes.get(axis) for axis in ("precision", "threads"))


class Ratio:
    """A time over another one. `slack` is what the rounding of both to nanoseconds may change; `apart`, that they are of other rounds."""

    def __init__(self, value, low, high, apart=False, slack=0.0, sampled=True):
        self.value, self.low, self.high, self.apart, self.slack, self.sampled = value, low, high, apart, slack, sampled

    def over(self, rival):
        apart, sampled = self.apart or rival.apart, self.sampled and rival.sampled
        low, high = quotient(self.low, rival.high), quotient(self.high, rival.low)
        return Ratio(self.value / rival.value, low, high, apart, self.slack + rival.slack, sampled)

    def states(self, floor):
        """Faster (F), slower (S) or even (E); two where rounding decides."""
        if self.apart:
            return {"E"}
        low, high = 0.0 if self.low is None else self.low, math.inf if self.high is None else self.high

        def state(value):
            if high < 1.0 and value < 1.0 / (1.0 + floor):
                return "F"
            return "S" if low > 1.0 and value > 1.0 + floor else "E"

        return {state(self.value * change) for change in (1.0 - self.slack, 1.0, 1.0 + self.slack)}


class Journals:
    """All cells of the runs, and what is held against what."""

    def __init__(self, runs):
        self.cells, self.floors, self.alike = {}, {}, collections.defaultdict(list)
        self.declared, self.worst, self.rivals = collections.defaultdict(list), {}, collections.defaultdict(list)
        self.known = {}
        for run in runs:
            self.read(run.resolve())
        for cell in self.cells.values():
            self.alike[cell.run, cell.machine, cell.variant, cell.engine].append(cell)
            if cell.is_declared:
                self.declared[cell.run, cell.machine, cell.group].append(cell)
        for cell in filter(lambda cell: cell.is_ok, self.cells.values()):
            key, error = self.kind(cell), self.error_ratio(cell)
            if error is not None:
                self.worst[key] = max(self.worst.get(key, 0.0), error)
        for cell in filter(lambda cell: cell.is_ok, self.cells.values()):
            if self.is_exact(cell):
                self.rivals[self.set_of(cell)].append(cell)

    def read(self, run):
        """The last record of each cell."""
        if run.name in self.floors:
            raise ValueError(f"two runs are called {run.name}")
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        noise = manifest.get("noise")
        self.floors[run.name] = noise["floor"] if noise else ASSUMED_FLOOR
        with open(run / "journal.txt", encoding="utf-8", newline="\n") as lines:
            next(lines)
            for line in lines:
                cell = Cell(run.name, json.loads(line.split(" ", 4)[4]))
                self.cells[cell.run, cell.id] = cell

    def kind(self, cell):
        return cell.machine, cell.variant, cell.axes.get("precision")

    def base(self, cell):
        """The declared baseline: of several in its group the one that it was measured beside, else the one most like it."""

        def unlike(base):
            axes = {axis for axis in cell.axes.keys() | base.axes.keys() if cell.axes.get(axis) != base.axes.get(axis)}
            near = (base.id != cell.id, base.id != cell.beside.get("id"), base.engine != cell.engine)
            return *near, "precision" in axes, "threads" in axes, len(axes), base.id

        return min(self.declared[cell.run, cell.machine, cell.group], key=unlike, default=None)

    def error_ratio(self, cell):
        """How much more it errs than what computes the same by the book; nothing where there is no such thing."""
        base = self.base(cell)
        if cell.error_ratio is not None or base is None or cell.error is None or base.error is None:
            return cell.error_ratio
        if cell.variant != base.variant and {cell.variant, base.variant} not in SAME_FUNCTION:
            return None
        if base.error == 0.0:
            return 1.0 if cell.error == 0.0 else math.inf
        return cell.error / base.error

    def is_exact(self, cell):
        return cell is self.base(cell) or self.worst.get(self.kind(cell), math.inf) <= EXACT

    def set_of(self, cell):
        base = self.base(cell)
        return cell.run, cell.machine, base and base.id, cell.engine, cell.regime()

    def ratio(self, cell):
        """Its time over its declared baseline's in the rounds in which it was sampled; over the baseline's record where it had none beside it."""
        if cell not in self.known:
            self.known[cell] = self.ratio_anew(cell)
        return self.known[cell]

    def ratio_anew(self, cell):
        base, (own, _) = self.base(cell), cell.median()
        if base is None or own is None or not cell.is_timed or not base.is_timed:
            return None
        if base is cell:
            return Ratio(1.0, 1.0, 1.0)
        apart, sampled = cell.beside.get("id") != base.id, True
        if apart:
            (below, _), ends = base.median(), base.ends
        else:
            (below, count), ends = base.median(set(cell.rounds)), (cell.beside["ci_low_ns"], cell.beside["ci_high_ns"])
            # The baseline is recorded with the last cell of the part of its group that it is recorded in; beside later parts it is measured again.
            sampled = count == cell.beside["samples"] and cell.finished <= base.finished + SAME_PART
            below = below if sampled else cell.beside["median_ns"]
        if not own or not below:
            return None
        # Medians are whole nanoseconds.
        slack = 0.55 / own + (0.55 / below if sampled else 0.0) + 1e-9
        return Ratio(own / below, quotient(cell.ends[0], ends[1]), quotient(cell.ends[1], ends[0]), apart, slack, sampled)

    def strong(self, cell):
        """Its time over that of the fastest exact cell of its set, by ratios to the declared baseline that both share."""
        base, own = self.base(cell), self.ratio(cell)
        if own is None or not base.is_ok:
            return None
        rivals = [] if self.is_exact(cell) else [ratio for rival in self.rivals[self.set_of(cell)] if (ratio := self.ratio(rival))]
        return own.over(min(rivals, key=lambda rival: rival.value)) if rivals else own


def quotient(upper, lower):
    return upper / lower if upper is not None and lower else None


def number(value):
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def agrees(said, own, x, moving):
    """Is a value what the setting says of its axis: one share of the moving axis, one value, or a range along the line?"""
    share = re.fullmatch(rf"(?:([0-9.e-]+) )?{re.escape(moving)}(?:/([0-9.e]+))?", said)
    if share and number(own) is not None:
        return abs(own - x * float(share[1] or 1) / float(share[2] or 1)) <= 1e-6 * abs(x)
    if ".." in said or str(own) == said:
        return True
    try:
        return number(own) == float(said)
    except ValueError:
        return False


def is_point(cell, told, moving, held):
    """Does a cell agree with the setting, and in all that it does not name with the cell that is told of?"""
    x, here = number(cell.axes.get(moving)), number(told.axes.get(moving))
    if x is None:
        return False
    for axis in (cell.axes.keys() | told.axes.keys()) - {moving}:
        own, other = cell.axes.get(axis), told.axes.get(axis)
        # Sizes that are the moving one by another name are not told.
        follows = axis not in ("precision", "threads") and (number(own), number(other)) == (x, here)
        if not (agrees(held[axis], own, x, moving) if axis in held else own == other or follows):
            return False
    return True


def points(journals, told, line):
    """The cells of a line by the moving axis."""
    held = dict(part.split(" = ", 1) for part in re.split(r", (?=\w+ = )", line["setting"]) if part)
    alike = [cell for cell in journals.alike[told.run, told.machine, told.variant, told.engine] if is_point(cell, told, line["axis"], held)]
    return sorted(alike, key=lambda cell: cell.axes[line["axis"]])


def verdicts(states):
    """All that the states allow."""
    every = itertools.islice(itertools.product(*states), 1 << TOO_MANY)
    spelled = map("".join, every)
    found = ([name for name, pattern in VERDICTS.items() if re.fullmatch(pattern, states)] for states in spelled)
    return {names[0] if names else "undecided" for names in found}


def faults_of_crossing(line, xs, ratios, states):
    """What is wrong with the place of a crossing."""
    at = float(line["crossing"])
    if not float(line["from"]) <= float(line["crossing_low"]) <= at <= float(line["crossing_high"]) <= float(line["to"]):
        yield f"the crossing {at} is not within its interval and the measured range"
    first, then = ("S", "F") if line["verdict"] == "from" else ("F", "S")
    before = max((x for x, state in zip(xs, states) if state == {first}), default=xs[0])
    after = min((x for x, state in zip(xs, states) if state == {then} and x > before), default=xs[-1])
    if not before <= at <= after:
        yield f"the crossing {at} is not between {before} and {after}, where the samples say that the verdict changes"
    for (left, right), (one, other) in zip(itertools.pairwise(xs), itertools.pairwise(ratios)):
        slack, begin, end = one.slack + other.slack, math.log(one.value), math.log(other.value)
        falls = begin >= -slack and end <= slack if first == "S" else begin <= slack and end >= -slack
        # Linear in logarithms, but for shares and what begins at 0.
        scales = [math.log] if left > 0.0 else []
        scales += [float] if xs[0] <= 0.0 or right <= 1.0 else []
        shares = [(scale(at) - scale(left)) / (scale(right) - scale(left)) for scale in scales if left <= at <= right]
        if falls and any(abs(begin + share * (end - begin)) <= slack + 1e-6 for share in shares):
            return
    around = ", ".join(f"{ratio.value:.4g} at {x:g}" for x, ratio in zip(xs, ratios))
    yield f"the crossing {at} does not lie where the ratios go through 1; the samples say {around}"


def faults_of_line(journals, told, line, cells):
    """What is wrong with a line, by the ratios at all its points."""
    strong = {cell: journals.strong(cell) for cell in cells if cell.is_ok}
    timed = [cell for cell in cells if strong.get(cell)]
    counts = [len(timed), sum(not cell.is_ok for cell in cells), sum(cell.is_ok for cell in cells) - len(timed)]
    said = [int(line[name]) for name in ("points", "failed", "alone")]
    xs = [number(cell.axes[line["axis"]]) for cell in timed]
    if counts != said or told not in timed or len(set(xs)) != len(xs):
        yield f"points, failed, alone are {said}, the journal has {counts} at {xs}"
        return
    if [float(line["from"]), float(line["to"])] != [xs[0], xs[-1]]:
        yield f"it goes from {line['from']} to {line['to']}, the journal has {xs}"
    if (line["exact"] == "true") != journals.is_exact(told):
        yield f"exact is {line['exact']}, the journal's errors say otherwise"
    ratios = [strong[cell] for cell in timed]
    states = [ratio.states(journals.floors[told.run]) for ratio in ratios]
    own, place = strong[told], timed.index(told)
    if abs(float(line["ratio"]) / own.value - 1.0) > own.slack + 1e-6:
        yield f"ratio {line['ratio']}, the samples say {own.value}"
    if float(line["at"]) != xs[place]:
        yield f"the cell is not at {line['axis']} = {line['at']}"
    is_first = "F" in states[place] and all(state != {"F"} for state in states[:place])
    is_best = all(state != {"F"} and own.value * (1.0 - own.slack) <= ratio.value * (1.0 + ratio.slack) for state, ratio in zip(states, ratios))
    if not is_first and not is_best:
        yield f"{line['at']} is neither the first point that is faster nor the best one; the samples say {[ratio.value for ratio in ratios]}"
    possible = verdicts(states)
    if line["verdict"] not in possible:
        yield f"verdict {line['verdict']}, the samples say {' or '.join(sorted(possible))}"
    if not sum(state == {"F"} for state in states) <= int(line["faster"]) <= sum("F" in state for state in states):
        yield f"{line['faster']} points are faster, the samples say {[''.join(sorted(state)) for state in states]}"
    wins = line["verdict"] in ("everywhere", "from", "by", "up-to")
    if (line["pays"] == "true") != (wins and (told.error is None or told.error <= WRONG)):
        yield f"pays is {line['pays']}, with the verdict {line['verdict']} and the error {told.error} in the journal"
    if bool(line["crossing"]) != (line["verdict"] in ("from", "up-to")):
        yield f"verdict {line['verdict']} with the crossing {line['crossing'] or 'absent'}"
    elif line["crossing"]:
        yield from faults_of_crossing(line, xs, ratios, states)
    if not all(ratio.sampled for ratio in ratios):
        yield None


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def trace_cells(journals, report, count, seed):
    """Faults, and how many cells were recomputed."""
    timed = [row for row in rows(report / "cells.csv") if row["median_ns"]]
    faults, traced = [], 0
    for row in random.Random(seed).sample(timed, min(count, len(timed))):
        cell = journals.cells.get((row["run"], row["id"]))
        recomputed, _ = cell.median() if cell else (None, 0)
        if recomputed is None:
            faults.append(f"cells.csv, {row['run']}, {row['id']}: the journals have no samples of it")
            continue
        traced += 1
        if abs(float(row["median_ns"]) - recomputed) > 0.5 + 1e-9 * recomputed:
            faults.append(f"cells.csv, {row['id']}: median {row['median_ns']} ns, the samples say {recomputed}")
    print(f"{traced} of {len(timed)} timed cells recomputed from their samples")
    return faults, traced


def trace_crossovers(journals, report):
    """Faults, how many lines were recomputed at all their points, and of how many."""
    faults, apart, traced, lines = [], 0, 0, rows(report / "crossovers.csv")
    for line in lines:
        where = f"crossovers.csv, {line['variant']} on {line['engine']} over {line['axis']} ({line['id']})"
        told = journals.cells.get((line["run"], line["id"]))
        if told is None:
            faults.append(f"{where}: the journals named have no such cell in a run {line['run']}")
            continue
        found = list(faults_of_line(journals, told, line, points(journals, told, line)))
        faults += [f"{where}: {fault}" for fault in found if fault]
        apart, traced = apart + (None in found), traced + (None not in found)
    print(f"{traced} of {len(lines)} crossovers recomputed from the samples of all their points")
    if apart:
        print(f"{apart} not: the baseline's samples of a point's rounds are in no record (measured in parts); checked with the record's median of them")
    return faults, traced, len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN")
    parser.add_argument("report", type=pathlib.Path, metavar="REPORT")
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        journals = Journals(arguments.runs)
        faults, cells = trace_cells(journals, arguments.report, arguments.cells, arguments.seed)
        more, traced, lines = trace_crossovers(journals, arguments.report)
    except (OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        print(f"cannot trace: {error!r}", file=sys.stderr)
        return 2
    faults += more
    if cells == 0 or (traced == 0 and lines > 0):
        faults.append("nothing was traced: no cell, or none of the crossovers")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
