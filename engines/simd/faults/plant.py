#!/usr/bin/env python3
"""Plants the faults of kernels.toml in a copy of the vector engine and sees which of them its tests notice.

Mutation testing (DeMillo, Lipton and Sayward, 1978) by hand-written faults, all in one program (mutant schemata; Untch, Offutt and
Harrold, 1993): each place asks whether its fault is on, so that the copy is compiled once and run once for each fault. The tests must
pass while none is on, and fail for each that is.

    plant.py [--target FOLDER] [--least SHARE] [PART OF A FAULT'S DESCRIPTION OR FILE ..]
    plant.py --check

With --check it only sees that every fault has its place in the code (`just lint`). Exits with 1 where fewer faults than SHARE (in per cent) are noticed, or the tests fail without any.
"""

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
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
# A fault may end in an endless loop: what takes so many times as long as without any fault, and these seconds more, has no end.
TIMES, MORE_SECONDS = 10, 30


def change(path, changes):
    """Replaces texts in a file of the copy."""
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            sys.exit(f"{path.name} has no {old!r}, which the copy needs replaced")
        text = text.replace(old, new)
    path.write_text(text)


def copy_workspace(to):
    """The engine and what it is made of, in a workspace without the other crates."""
    shutil.copytree(ENGINE, to / "engines/simd", ignore=shutil.ignore_patterns("faults", "examples", "benches"))
    shutil.copytree(ROOT / "engines/core", to / "engines/core", ignore=shutil.ignore_patterns("goldens"))
    # The first case that fails is enough, and nobody reads a smaller one.
    change(to / "engines/core/src/conformance/options.rs", {"stop_at_first: false,": "stop_at_first: true,", "shrink: true,": "shrink: false,"})
    for name in ["Cargo.lock", "rust-toolchain.toml"]:
        shutil.copy(ROOT / name, to / name)
    manifest = (ROOT / "Cargo.toml").read_text()
    first, last = manifest.index("members = ["), manifest.index("]", manifest.index("members = ["))
    # Nothing is timed here: what compiles fastest is best.
    manifest = manifest[:first] + 'members = ["engines/core", "engines/simd"' + manifest[last:].replace("codegen-units = 1", "codegen-units = 16")
    (to / "Cargo.toml").write_text(manifest.replace('debug = "line-tables-only"', "debug = false"))
    engine = to / "engines/simd/Cargo.toml"
    engine.write_text(engine.read_text().split("[[bench]]")[0].split("[[example]]")[0])
    # Benchmarks need a crate that the copy is without.
    change(engine, {'crossover-benches = { workspace = true, features = ["criterion"] }\n': ""})


def parts_with_one_place(path, fault):
    """The file's code and its tests; the fault's text must stand in the code once."""
    code, *tests = path.read_text().split("#[cfg(test)]\nmod tests")
    found = code.count(fault["find"])
    if found != 1:
        sys.exit(f"{fault['file']}: {fault['find']!r} stands there {found} times; a fault needs a text that stands there once")
    if code[: code.index(fault["find"])].endswith("."):
        sys.exit(f"{fault['file']}: {fault['find']!r} is the end of an expression; a fault takes the place of a whole one")
    return [code, *tests]


def plant(to, faults):
    """Puts every fault behind its switch."""
    for number, fault in enumerate(faults, 1):
        path = to / "engines/simd/src" / fault["file"]
        code, *tests = parts_with_one_place(path, fault)
        right, wrong = fault["find"], fault["plant"]
        both = f"if crate::planted({number}) {{ {wrong} }} else {{ {right} }}"
        code = code.replace(right, both if right.endswith(";") else f"({both})")
        path.write_text("#[cfg(test)]\nmod tests".join([code, *tests]))
    head = to / "engines/simd/src/lib.rs"
    head.write_text("#![allow(warnings)]\n" + head.read_text() + SWITCH)


def bring(made, workspace):
    """Makes the workspace what was made, touching only what differs: cargo compiles again what is newer than its last result."""
    wanted = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    for path in [path for path in workspace.rglob("*") if path.is_file() and path.relative_to(workspace) not in wanted]:
        path.unlink()
    for path in wanted:
        if not (workspace / path).is_file() or not filecmp.cmp(made / path, workspace / path, shallow=False):
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / path, workspace / path)


def build(folder, target):
    """Compiles the tests; returns their programs."""
    command = ["cargo", "test", "--release", "-p", "crossover-simd", "--lib", "--test", "*", "--no-run", "--message-format=json-render-diagnostics"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the planted faults do not compile")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [message["executable"] for message in messages if message.get("executable")]


def trials(programs):
    """Every test by itself, so that the first that fails ends it; but the suite's own planted faults say nothing about these."""
    found = []
    for program in programs:
        listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
        tests = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
        found += [[program, "--exact", test] for test in tests if test != "planted_faults_are_found"]
    return found


def fails(trial, fault, seconds=None):
    """Does it fail, or find no end, while the fault is on?"""
    environment = {**os.environ, "CROSSOVER_PLANTED": str(fault), "CROSSOVER_SLOW": "0", "RUST_BACKTRACE": "0"}
    try:
        return subprocess.run(trial, cwd=ENGINE, env=environment, capture_output=True, timeout=seconds, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def limit(trial):
    """Seconds after which it is taken to have no end, from what it takes without any fault."""
    began = time.monotonic()
    if fails(trial, 0):
        sys.exit(f"without any fault, {trial[-1]} fails")
    return TIMES * (time.monotonic() - began) + MORE_SECONDS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "planted")
    parser.add_argument("--least", type=float, default=95.0)
    parser.add_argument("--check", action="store_true", help="only see that every fault has its place in the code")
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    faults = tomllib.loads((ENGINE / "faults/kernels.toml").read_text())["fault"]
    if arguments.check:
        if arguments.parts:
            parser.error("--check looks at all faults")
        for fault in faults:
            parts_with_one_place(ENGINE / "src" / fault["file"], fault)
        return
    workspace = arguments.target / "workspace"
    with tempfile.TemporaryDirectory() as folder:
        copy_workspace(Path(folder))
        plant(Path(folder), faults)
        bring(Path(folder), workspace)
    programs = build(workspace, arguments.target)
    # The quickest first: most faults are noticed by more than one.
    limited = sorted(((trial, limit(trial)) for trial in trials(programs)), key=lambda pair: pair[1])
    wanted = [part.lower() for part in arguments.parts]
    survivors, tried = 0, 0
    for number, fault in enumerate(faults, 1):
        line = f"{fault['file']}: {fault['what']}"
        if wanted and not any(part in line.lower() for part in wanted):
            continue
        tried += 1
        noticed = next((trial[-1] for trial, seconds in limited if fails(trial, number, seconds)), None)
        survivors += noticed is None
        print(f"noticed  {line} ({noticed})" if noticed else f"SURVIVED {line}", flush=True)
    share = 100.0 * (tried - survivors) / max(tried, 1)
    print(f"{tried - survivors} of {tried} planted faults were noticed: {share:.0f} %")
    sys.exit(0 if tried and share >= arguments.least else 1)


if __name__ == "__main__":
    main()
