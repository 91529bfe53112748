#!/usr/bin/env python3
"""Is it for other machines' rows alone that the exact gate is no pass?

    of_other_machines.py GATE.json

GATE.json is what `crossover gate --exact --json FILE` wrote. Exits with 0 where nothing regressed, the baseline is of other machines, and everything else was
held: no change of a commit is to blame for that. Else with 1, as where the worker's size has nothing to be held against.
"""

import json
import sys


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        told = json.load(file)
    unheld = [change for change in told["changes"] if change["verdict"] in ("regressed", "inconclusive")]
    for change in unheld:
        print(f"{change['verdict']}: {change['cell']}: {change['what']}", file=sys.stderr)
    return 0 if told["verdict"] == "inconclusive" and told["of_other_machines"] and not unheld else 1


if __name__ == "__main__":
    sys.exit(main())
