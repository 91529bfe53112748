#!/usr/bin/env python3
"""Plants the faults of kernels.toml in a copy of the vector engine and sees which of them its tests notice.

Mutation testing (DeMillo, Lipton and Sayward, 1978) by hand-written faults, all in one program (mutant schemata; Untch, Offutt and
Harrold, 1993): each place asks whether its fault is on, so that the copy is compiled once and run once for each fault. The tests must
pass while none is on, and fail for each that is.

    plant.py [--target FOLDER] [--least SHARE] [PART OF A FAULT'S DESCRIPTION OR FILE ..]

Exits with 1 where fewer faults than SHARE (in per cent) are noticed, or the tests fail without any.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ENGINE = Path(__file__).resolve().parent.parent
ROOT = ENGINE.parent.parent
SWITCH = """
/// Is this fault on?
#[inline(always)]
pub(crate) fn planted(fault: usize) -> bool {
    static ON: std::sync::LazyLock<usize> =
        std::sync::LazyLock::new(|| std::env::var("CROSSOVER_PLANTED").ok().and_then(|fault| fault.parse().ok()).unwrap_or(0));
    *ON == fault
}
"""
# A fault may end in an endless loop.
SECONDS = 600


def copy_workspace(to):
    """The engine and what it is made of, in a workspace without the other crates."""
    shutil.copytree(ENGINE, to / "engines/simd", ignore=shutil.ignore_patterns("faults", "examples", "benches"))
    shutil.copytree(ROOT / "engines/core", to / "engines/core", ignore=shutil.ignore_patterns("goldens"))
    for name in ["Cargo.lock", "rust-toolchain.toml"]:
        shutil.copy(ROOT / name, to / name)
    manifest = (ROOT / "Cargo.toml").read_text()
    first, last = manifest.index("members = ["), manifest.index("]", manifest.index("members = ["))
    # Nothing is timed here: what compiles fastest is best.
    manifest = manifest[:first] + 'members = ["engines/core", "engines/simd"' + manifest[last:].replace("codegen-units = 1", "codegen-units = 16")
    (to / "Cargo.toml").write_text(manifest.replace('debug = "line-tables-only"', "debug = false"))
    engine = to / "engines/simd/Cargo.toml"
    text = engine.read_text().split("[[bench]]")[0].split("[[example]]")[0]
    engine.write_text(text.replace("criterion.workspace = true\n", ""))


def plant(to, faults):
    """Puts every fault behind its switch."""
    for number, fault in enumerate(faults, 1):
        path = to / "engines/simd/src" / fault["file"]
        code, *tests = path.read_text().split("#[cfg(test)]\nmod tests")
        found = code.count(fault["find"])
        if found != 1:
            sys.exit(f"{fault['file']}: {fault['find']!r} stands there {found} times; a fault needs a text that stands there once")
        right, wrong = fault["find"], fault["plant"]
        both = f"if crate::planted({number}) {{ {wrong} }} else {{ {right} }}"
        code = code.replace(right, both if right.endswith(";") else f"({both})")
        path.write_text("#[cfg(test)]\nmod tests".join([code, *tests]))
    head = to / "engines/simd/src/lib.rs"
    head.write_text(head.read_text() + SWITCH)


def build(folder, target):
    """Compiles the tests; returns their programs."""
    command = ["cargo", "test", "--release", "-p", "crossover-simd", "--lib", "--test", "*", "--no-run", "--message-format=json-render-diagnostics"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the planted faults do not compile")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    programs = {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}
    return [programs[name] for name in sorted(programs, key=lambda name: (name != "crossover_simd", name == "conformance", name))]


def pieces(program):
    """What is run at once: all unit tests, each of the others alone, so that the first that fails ends it."""
    if "crossover_simd" in Path(program).name:
        return [[]]
    listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [["--exact", line.removesuffix(": test")] for line in listed.splitlines() if line.endswith(": test")]


def noticed_by(programs, fault):
    """The first test that fails while the fault is on; None where all pass."""
    environment = {**os.environ, "CROSSOVER_PLANTED": str(fault), "CROSSOVER_SLOW": "0", "RUST_BACKTRACE": "0"}
    for program, piece in [(program, piece) for program in programs for piece in pieces(program)]:
        # The suite's own planted faults say nothing about these.
        command = [program, "--test-threads=2", "--skip", "planted_faults_are_found", *piece]
        try:
            done = subprocess.run(command, cwd=ENGINE, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return "no end"
        if done.returncode != 0:
            failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("test ") and line.endswith("FAILED")]
            return (failed or [f"exit status {done.returncode}"])[0]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "planted")
    parser.add_argument("--least", type=float, default=95.0)
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    faults = tomllib.loads((ENGINE / "faults/kernels.toml").read_text())["fault"]
    with tempfile.TemporaryDirectory() as folder:
        copy_workspace(Path(folder))
        plant(Path(folder), faults)
        programs = build(Path(folder), arguments.target)
    failing = noticed_by(programs, 0)
    if failing:
        sys.exit(f"without any fault, {failing} fails")
    wanted = [part.lower() for part in arguments.parts]
    survivors, tried = 0, 0
    for number, fault in enumerate(faults, 1):
        line = f"{fault['file']}: {fault['what']}"
        if wanted and not any(part in line.lower() for part in wanted):
            continue
        tried += 1
        noticed = noticed_by(programs, number)
        survivors += noticed is None
        print(f"noticed  {line} ({noticed})" if noticed else f"SURVIVED {line}", flush=True)
    share = 100.0 * (tried - survivors) / max(tried, 1)
    print(f"{tried - survivors} of {tried} planted faults were noticed: {share:.0f} %")
    sys.exit(0 if tried and share >= arguments.least else 1)


if __name__ == "__main__":
    main()
