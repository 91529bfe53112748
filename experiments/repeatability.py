#!/usr/bin/env python3
"""Says how well two runs of one experiment agree: medians of cells that take long enough, and accuracy to the last bit.

    repeatability.py RUN_A RUN_B [--least-us 100] [--within 0.05] [--share 0.95]

Reads the journals (`results/RESULTS.md`, "journal.txt"). A cell counts for the times where it is `ok` or `emulated` in both runs and its
median in the first is at least LEAST_US. Exits with 1 where a smaller share than SHARE agrees, where no cell counts for the times, where
accuracy or status differ, or where the runs have not the same cells; with 2 where a journal cannot be read.
"""

import argparse
import json
import pathlib
import sys

FIELDS = ("id", "variant", "engine", "status", "accuracy", "speed")


def records(run):
    """The last record of each cell. A line without a whole one was damaged: that is an error here, not a cell to pass over."""
    cells = {}
    lines = (pathlib.Path(run) / "journal.txt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[1:], start=2):
        try:
            # Numbers with a point stay text, so that they are compared by every digit and by their sign.
            whole = json.loads(line.split(" ", 4)[4], parse_float=str)
            record = {field: whole[field] for field in FIELDS}
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{run}/journal.txt:{number}: no record: {error!r}") from error
        cells[record["id"]] = record
    return cells


def median(record):
    return record["speed"]["median_ns"] if record["status"] in ("ok", "emulated") and record["speed"] else None


def named(record):
    return f"{record['variant']} on {record['engine']} ({record['id']})"


def compare(first, second, least_ns, within):
    """The cells that were timed, those that disagree with how much, and what else is wrong, in words."""
    timed, apart, wrong = 0, [], []
    for cell in sorted(first.keys() ^ second.keys()):
        wrong.append(f"{named(first.get(cell) or second[cell])} is in one run only")
    for cell in sorted(first.keys() & second.keys()):
        one, other = first[cell], second[cell]
        if one["status"] != other["status"]:
            wrong.append(f"{named(one)} is {one['status']} in one run and {other['status']} in the other")
        if one["accuracy"] != other["accuracy"]:
            wrong.append(f"{named(one)} differs in accuracy: {one['accuracy']} and {other['accuracy']}")
        times = median(one), median(other)
        if None in times or times[0] < least_ns:
            continue
        timed += 1
        difference = max(times) / max(1, min(times)) - 1
        if difference > within:
            apart.append((difference, one))
    return timed, apart, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=2, metavar="RUN")
    parser.add_argument("--least-us", type=float, default=100)
    parser.add_argument("--within", type=float, default=0.05)
    parser.add_argument("--share", type=float, default=0.95)
    arguments = parser.parse_args()
    try:
        first, second = map(records, arguments.runs)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    timed, apart, wrong = compare(first, second, arguments.least_us * 1000, arguments.within)
    if not timed:
        print(f"no cell of {arguments.least_us:g} us or more is in both runs with a time: nothing shows that times repeat")
        for complaint in wrong:
            print(complaint)
        return 1
    share = 1 - len(apart) / timed
    print(f"{timed} cells of {arguments.least_us:g} us or more in both runs; {100 * share:.1f} % of their medians agree within "
          f"{100 * arguments.within:g} %")
    for difference, record in sorted(apart, key=lambda found: -found[0])[:10]:
        print(f"  {100 * difference:.1f} %  {named(record)}")
    print("status and accuracy are the same in every cell" if not wrong else "\n".join(wrong))
    return 1 if wrong or share < arguments.share else 0


if __name__ == "__main__":
    sys.exit(main())
