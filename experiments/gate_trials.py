#!/usr/bin/env python3
"""Tries the regression gate on builds of which it is known what it should say, and counts how often it does.

    gate_trials.py PROGRAMS [--trials same,hogs,..] [--comparisons N] [--short | --write METHODOLOGY.md]

PROGRAMS is the folder of `crossover`, `crossover-worker` and `crossover-worker-planted` (`just gate-trials` builds them). A comparison is one cell
in one gate; gates with other seeds follow each other until a trial has N comparisons, or its own number. Trials:

    same       a worker beside its copy
    hogs       the same, while two busy processes compete for the processors
    relinked   beside the same worker linked anew, with code that nobody calls before its own
    overload   a worker beside its copy, while four busy processes a processor compete
    slower-5   a worker whose calls are followed by work beside its copy whose calls take 5 % longer still
    slower-10  the same with 10 %
    faults     the exact gate, with each mistake of the conformance suite in the engine `naive`: a comparison is one mistake
    whole      one gate over the whole experiment: how long it takes
    exact      one exact gate: how long it takes
    counted    the gate of instructions, on the workers of slower-5 (passed over where there is no valgrind)

An alarm is a verdict other than pass or inconclusive, a gain as well as a loss, and a cell that head is said to have lost, which no planted work is. A
cell that neither worker has on this machine is no comparison. With --write the table's rows are put into that file, between its markers. With --short there are few
comparisons of the engine `simd`, and one planted change in ten may stay unfound: that finds a gate which is broken, and not one which errs a little more
often. Exits with 1 where a trial finds less than is asked of it, with 2 where a gate does not run; what was measured by then is printed.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

MARKERS = "<!-- gate trials: written by experiments/gate_trials.py -->", "<!-- end of gate trials -->"
HEAD = [
    "| trial | asked | alarms | inconclusive | passed | of | seconds a cell | load | on |",
    "|---|---|--:|--:|--:|--:|--:|--:|---|",
]


WORKER, PLANTED = "crossover-worker", "crossover-worker-planted"
# The name under which the planted worker works after its calls twice; under its own it does once.
SLOWER = "crossover-worker-slower"
FAULTS, WHOLE, EXACT, COUNTED = "faults", "whole", "exact", "counted"
# What is counted in its trial: valgrind takes some seconds a cell.
COUNTED_FILTER = 'family == "attention"'
# The most that a gate may take, after the builds.
WHOLE_S, EXACT_S, WHOLE_CELLS = 600, 60, 40
SHORT_COMPARISONS, SHORT_FILTER = 20, 'engine == "simd"'


class Trial:
    """What is compared with what, beside how many busy processes, and what should come out."""

    def __init__(self, words, asked, misses, allowed, comparisons, base=WORKER, head=WORKER, hogs=0, work=None, least_s=None):
        self.words, self.asked, self.misses, self.allowed, self.comparisons = words, asked, misses, allowed, comparisons
        self.base, self.head, self.hogs, self.work, self.least_s = base, head, hogs, work, least_s

    def is_good(self, counts, is_short):
        """Are there no more misses than may be? The short form has one planted change in ten to spare, and no alarm."""
        comparisons = sum(counts.values())
        spare = max(1, comparisons // 10) if is_short and self.work else 0
        return self.misses(counts) <= self.allowed(comparisons) + spare


def alarms(counts):
    return counts["regressed"] + counts["improved"] + counts["lost"]


def not_found(counts):
    return sum(counts.values()) - counts["regressed"]


def share(most):
    return lambda comparisons: math.floor(most * comparisons + 1e-9)


PROCESSORS = len(os.sched_getaffinity(0))
RARE, NONE = share(1 / 500), share(0)
TRIALS = {
    "same": Trial("a worker beside its copy", "<= 1 alarm in 500", alarms, RARE, 500),
    "hogs": Trial("the same, two busy processes", "<= 1 alarm in 500", alarms, RARE, 500, hogs=2),
    "relinked": Trial("the same code, linked anew with padding", "<= 1 alarm in 500", alarms, RARE, 500, head=PLANTED),
    "overload": Trial("a copy, four busy processes a processor", "no alarm", alarms, NONE, 100, hogs=4 * PROCESSORS),
    "slower-5": Trial("calls that take 5 % longer", ">= 95 % regressed", not_found, share(0.05), 200, base=PLANTED, head=PLANTED, work=0.05, least_s=15),
    "slower-10": Trial("calls that take 10 % longer", ">= 99 % regressed", not_found, share(0.01), 200, base=PLANTED, head=PLANTED, work=0.1, least_s=15),
}
NAMES = [*TRIALS, FAULTS, WHOLE, EXACT, COUNTED]


def clean_environment():
    """Without what somebody may have planted before."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CROSSOVER_PLANTED_")}


def told_by_exact_gate(programs, worker, fault):
    """What the exact gate says of errors and of the conformance suite; other changes come of the mutants' way over the host."""
    command = [programs / "crossover", "gate", "--exact", "--json", "--head-worker", worker, "--filter", 'engine == "naive"']
    done = subprocess.run(command, env={**clean_environment(), "CROSSOVER_PLANTED_FAULT": fault}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(map(str, command))} with {fault} exited with {done.returncode}")
    errors = ("became wrong", "became failed", "its error grew")
    regressed = [change for change in json.loads(done.stdout)["changes"] if change["verdict"] == "regressed"]
    return [change for change in regressed if change["cell"].startswith("the conformance suite") or any(e in change["what"] for e in errors)]


def attempt_faults(programs):
    worker = programs / PLANTED
    listed = subprocess.run([worker, "faults"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    if not listed:
        raise RuntimeError(f"{worker} has no faults to plant")
    missed, alarms, took, real = [], 0, 0.0, 0
    for line in listed:
        fault, operation = line.split("\t")
        began = time.monotonic()
        told = told_by_exact_gate(programs, worker, fault)
        took += time.monotonic() - began
        if operation == "harmless":
            alarms += bool(told)
        else:
            real += 1
            if not told:
                missed.append(f"{fault} of {operation}")
        print(f"faults: {fault}: {told[0]['cell'] + ': ' + told[0]['what'] if told else 'nothing'}", file=sys.stderr, flush=True)
    for text in missed:
        print(f"  not seen: {text}", file=sys.stderr)
    row = (f"| faults: mistakes of the conformance suite, seen by the exact gate | all | {real - len(missed)} | | {len(missed)} | {real} | {took / len(listed):.1f} "
           f"| {os.getloadavg()[0]:.1f} |")
    return row, not missed and not alarms


@contextlib.contextmanager
def busy(count):
    """Processes that compute until the end of the block, or of this process."""
    program = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"
    hogs = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def gate(programs, head, trial, seed, filters):
    environment = clean_environment()
    if trial.work is not None:
        environment["CROSSOVER_PLANTED_WORK"] = str(trial.work)
    command = [programs / "crossover", "gate", "--json", "--seed", str(seed), "--base-worker", programs / trial.base, "--head-worker", head]
    for text in filters:
        command += ["--filter", text]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1, 4):
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}")
    return json.loads(done.stdout)["cells"]


def counted_as(cell):
    """What a cell counts as; none of one that was not compared, as neither worker has it on this machine. One that passes without a pair nobody planted."""
    if cell["verdict"] == "not-compared":
        return None
    if "ratio" in cell or cell["verdict"] == "inconclusive":
        return cell["verdict"]
    if cell["verdict"] == "regressed":
        return "lost"
    raise RuntimeError(f"{cell['variant']} on {cell['engine']} passed without a pair: {cell.get('reason')}")


def kinds_of(judged):
    """What the compared cells of a gate count as; an error where there are none."""
    kinds = [(cell, counted_as(cell)) for cell in judged]
    compared = [(cell, kind) for cell, kind in kinds if kind]
    if not compared:
        raise RuntimeError(f"none of {len(judged)} cells was compared, the first: {judged[0].get('reason') if judged else 'there are none'}")
    return compared


def shown(cell):
    """A cell with its evidence, or why there is none."""
    words = f"{cell['variant']} on {cell['engine']} {cell['axes'].get('precision', '')}: {cell['verdict']}, "
    if "ratio" not in cell:
        return words + str(cell.get("reason"))
    return words + f"{cell['ratio']:.3f} [{cell['ratio_low'] or 0:.3f}, {cell['ratio_high'] or 0:.3f}], {cell['pairs']} pairs"


def attempt(programs, name, trial, comparisons, filters, is_short):
    counts, cells, took, loads, seed = Counter(), 0, 0.0, [], 0
    with tempfile.TemporaryDirectory() as folder, busy(trial.hogs):
        # Another file for the kernel and the page cache, as a head that was built has.
        head = shutil.copy(programs / trial.head, pathlib.Path(folder, SLOWER if trial.work else trial.head))
        while cells < comparisons:
            seed += 1
            began = time.monotonic()
            judged = gate(programs, head, trial, seed, filters)
            took += time.monotonic() - began
            loads.append(os.getloadavg()[0])
            compared = kinds_of(judged)
            cells += len(compared)
            for cell, kind in compared:
                counts[kind] += 1
                if trial.misses(Counter([kind])):
                    # At once: who ends a trial of an hour early has them, too.
                    print(f"  seed {seed}: {shown(cell)}", file=sys.stderr, flush=True)
            print(f"{name}: {cells} of {comparisons}, {dict(counts)}", file=sys.stderr, flush=True)
    seconds = took / cells
    good = trial.is_good(counts, is_short) and (trial.least_s is None or seconds <= trial.least_s)
    row = (f"| {name}: {trial.words} | {trial.asked} | {alarms(counts)} | {counts['inconclusive']} | {counts['pass']} | {cells} | {seconds:.1f} "
           f"| {sum(loads) / len(loads):.1f} |")
    return row, good


def attempt_whole(programs):
    """How long a gate takes over the experiment, all of it."""
    trial = TRIALS["same"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        judged = gate(programs, shutil.copy(programs / trial.head, folder), trial, 1, [])
        took = time.monotonic() - began
    counts = Counter(kind for _, kind in kinds_of(judged))
    cells = sum(counts.values())
    if cells < WHOLE_CELLS:
        raise RuntimeError(f"the experiment of the gate has {cells} cells, and the trial is of {WHOLE_CELLS}")
    row = (f"| {WHOLE}: a gate over the whole experiment, {took:.0f} s | <= {WHOLE_S} s for {WHOLE_CELLS} cells | {alarms(counts)} "
           f"| {counts['inconclusive']} | {counts['pass']} | {cells} | {took / cells:.1f} | {os.getloadavg()[0]:.1f} |")
    return row, took * WHOLE_CELLS <= WHOLE_S * cells


def attempt_exact(programs):
    """How long the exact gate takes, and that it has nothing against the build."""
    command = [programs / "crossover", "gate", "--exact", "--json"]
    began = time.monotonic()
    done = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}")
    told = json.loads(done.stdout)
    worse = sum(change["verdict"] == "regressed" for change in told["changes"])
    row = (f"| {EXACT}: the exact gate, {took:.0f} s | <= {EXACT_S} s | {worse} | | {told['cells'] - worse} | {told['cells']} "
           f"| {took / told['cells']:.2f} | {os.getloadavg()[0]:.1f} |")
    return row, took <= EXACT_S and worse == 0


def attempt_counted(programs):
    """Whether the gate of instructions sees work that calls do more; no row where nothing can be counted."""
    if shutil.which("valgrind") is None:
        print(f"{COUNTED}: passed over, as there is no valgrind", file=sys.stderr)
        return None, True
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        head = shutil.copy(programs / PLANTED, pathlib.Path(folder, SLOWER))
        command = [programs / "crossover", "gate", "--instructions", "--json", "--filter", COUNTED_FILTER]
        command += ["--base-worker", programs / PLANTED, "--head-worker", head]
        environment = {**clean_environment(), "CROSSOVER_PLANTED_WORK": str(TRIALS["slower-5"].work)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1, 4):
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}")
    took = time.monotonic() - began
    # A cell that neither build has on this machine is no comparison.
    counted = [path for path in json.loads(done.stdout)["paths"] if path["verdict"] != "not-compared"]
    if not counted:
        raise RuntimeError("no cell was counted")
    counts = Counter(path["verdict"] for path in counted)
    row = (f"| {COUNTED}: {TRIALS['slower-5'].words}, instructions | all regressed | {alarms(counts)} | {counts['inconclusive']} | {counts['pass']} "
           f"| {len(counted)} | {took / len(counted):.1f} | {os.getloadavg()[0]:.1f} |")
    return row, counts["regressed"] == len(counted)


def machine():
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {PROCESSORS} processors"


def table(path):
    """The text of the file, and where the table stands in it."""
    text = path.read_text(encoding="utf-8")
    begin, end = (text.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        raise RuntimeError(f"{path} has not the markers {MARKERS[0]} and {MARKERS[1]}")
    return text, begin, end


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("| ") and line != HEAD[0]]


def splice(path, rows):
    """Rows of these trials take the places of earlier ones; others stay."""
    text, begin, end = table(path)
    kept = {line[2:].split(":", 1)[0]: line for line in rows_of(text[begin:end]) + rows}
    lines = [MARKERS[0], "", *HEAD, *(kept[name] for name in NAMES if name in kept), ""]
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text[:begin] + "\n".join(lines) + text[end:], encoding="utf-8")
    unfinished.replace(path)


def tried(name, arguments):
    """One trial: its row, with the machine it is of, and whether it found what is asked of it."""
    programs = arguments.programs.resolve()
    special = {FAULTS: attempt_faults, WHOLE: attempt_whole, EXACT: attempt_exact, COUNTED: attempt_counted}
    if name in special:
        row, good = special[name](programs)
    else:
        trial, filters = TRIALS[name], arguments.filter + [SHORT_FILTER] * arguments.short
        comparisons = arguments.comparisons or (SHORT_COMPARISONS if arguments.short else trial.comparisons)
        row, good = attempt(programs, name, trial, comparisons, filters, arguments.short)
    return row and f"{row} {machine()} |", good


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--trials", default=",".join(NAMES), help="which, separated by commas")
    parser.add_argument("--comparisons", type=int, help="how many in each trial, instead of its own number")
    parser.add_argument("--filter", action="append", default=[], help="which cells of the experiment `gate`")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="few comparisons, which may err in one of ten")
    form.add_argument("--write", type=pathlib.Path, help="the file whose table gets the rows")
    arguments = parser.parse_args()
    if arguments.comparisons is not None and arguments.comparisons < 1:
        parser.error("--comparisons: at least one")
    arguments.trials = arguments.trials.split(",")
    for name in arguments.trials:
        if name not in NAMES:
            parser.error(f"there is no trial {name!r}; there are {', '.join(NAMES)}")
    return arguments


def main():
    arguments = read_arguments()
    # As an exception it ends the gate that runs, too, and what was measured is printed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows, bad = [], []
    try:
        if arguments.write:
            # Before an hour's work.
            table(arguments.write)
        for name in arguments.trials:
            row, good = tried(name, arguments)
            rows += [row] if row else []
            if not good:
                bad.append(name)
            if arguments.write:
                splice(arguments.write, rows)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if rows:
            print("\n".join(HEAD + rows))
    for name in bad:
        print(f"{name}: less than was asked")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
