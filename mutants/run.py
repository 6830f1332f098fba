#!/usr/bin/env python3
"""Tries mutants of the sources: all of them in one build, each behind a switch, and each with the tests that reach it.

  mutants/run.py [--in-diff FILE] [--file GLOB].. [--minutes N] [--seed N] [--jobs N] [--tests NAME..]

Everything it makes is under target/mutants ($MUTANTS_FOLDER): what it tried and how each mutant ended is outcomes.json there. Ends with 1 if a mutant
survived, with 2 if the tests fail without any mutant or a build fails. `.ci/mutants` is how the gate runs it.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = pathlib.Path(os.environ.get("MUTANTS_FOLDER", ROOT / "target" / "mutants")).resolve()
TREE = OUT / "tree"
STARTED = time.monotonic()

# Which tests are built for a change, with --fitting-tests: those that have caught most there, and all of a module's own. Building all takes longer
# than the gate has.
FITTING = {
    "": ["lib"],
    "src/wire": ["codec", "property", "vectors", "sequences"],
    "src/crypto": ["keys", "key_files", "signing", "signing_key_files", "vectors", "providers", "x509", "residue"],
    "src/terms": ["trust", "tickets", "ticket_memory", "resumption", "manifest", "host_trust", "authorized_keys", "stretching", "adapters"],
    "src/handshake": ["sequences", "vectors", "tamper", "resumption", "proof", "factors", "puzzle", "server_await_login"],
    "src/session.rs": ["session", "link", "vectors"],
    "src/io": ["adapters", "link", "idle", "closing"],
    "src/stores": ["accounts", "account_file", "account_verifier", "known_hosts", "second_factor", "password_check", "permissions"],
    "stores/src": ["conformance", "sql", "redis", "ldap", "ldap_answers", "shared"],
}


def say(text):
    print(f"[{time.monotonic() - STARTED:6.0f}s] {text}", flush=True)


def cargo(*arguments, cwd=TREE, **options):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target"), CARGO_INCREMENTAL="0")
    return subprocess.run(["cargo", *arguments], cwd=cwd, env=environment, text=True, **options)


def listed(arguments):
    """What cargo-mutants finds, by its own rules and those of .cargo/mutants.toml."""
    command = ["mutants", "--list", "--json", "--package", "countersign", "--package", "countersign-stores"]
    for file in arguments.file:
        command += ["--file", file]
    if arguments.in_diff:
        command += ["--in-diff", arguments.in_diff]
    found = cargo(*command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if found.returncode != 0:
        sys.exit(f"cargo mutants --list: {found.stdout}{found.stderr}")
    # It says in words that a diff touches nothing.
    return json.loads(found.stdout) if found.stdout.lstrip().startswith("[") else []


def copy(files):
    """The files as they are in ROOT, to TREE; only what differs is written, so that Cargo builds only that."""
    for file in files:
        source, copied = ROOT / file, TREE / file
        if source.is_symlink() or not source.is_file():
            continue
        content = source.read_bytes()
        if file == "Cargo.toml":
            # Cargo tells packages of one name and version in one target folder apart by their place in the workspace alone: without this, what
            # is built next from the sources themselves would be linked with the mutants.
            content = re.sub(rb'(?m)^version = "(\d+\.\d+\.)(\d+)"$', rb'version = "\g<1>\g<2>+mutants"', content, count=1)
        if copied.exists() and copied.read_bytes() == content:
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(content)
        copied.chmod(source.stat().st_mode)


def messages(built):
    return [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]


def weave(mutants):
    """Weaves all mutants into TREE that compile there, and gives their numbers and why the others are not among them."""
    tool = ROOT / "mutants" / "Cargo.toml"
    built = cargo("build", "--quiet", "--locked", "--manifest-path", str(tool), cwd=ROOT)
    if built.returncode != 0:
        sys.exit(2)
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    # With what tests look at; but for the inputs of fuzz targets, which are thousands.
    tracked = [file for file in tracked.stdout.splitlines() if not file.startswith(("fuzz/corpus/", "fuzz/seeds/"))]
    (OUT / "mutants.json").write_text(json.dumps(mutants))
    woven_files = sorted({mutant["file"] for mutant in mutants} | {"src/lib.rs", "stores/src/lib.rs"})
    without = {}
    if os.environ.get("MUTANTS_UNVIABLE"):
        without = {int(k): v for k, v in json.loads((OUT / "unviable.json").read_text()).items()}
    for turn in range(30):
        copy(tracked if turn == 0 else woven_files)
        (OUT / "without").write_text("\n".join(map(str, without)))
        command = [ROOT / "target/debug/countersign-mutants", OUT / "mutants.json", TREE, OUT / "without"]
        woven = json.loads(subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout)
        # As the tests are built: `cargo check` would go through all dependencies once more.
        checked = cargo("test", "--no-run", "--workspace", "--lib", "--all-features", "--message-format=json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        errors = [m["message"] for m in messages(checked) if m.get("reason") == "compiler-message" and m["message"]["level"] == "error"]
        if checked.returncode == 0:
            return woven, without
        before = len(without)
        for error in errors:
            for number in blamed(error, woven["ranges"]) if error["spans"] else []:
                without.setdefault(number, error["message"])
        if len(without) == before or turn >= 12:
            # Nobody can tell whose these are, so none is tried of the files that they are in.
            files = {span["file_name"] for error in errors for span in error["spans"]}
            for number, mutant in enumerate(mutants, 1):
                if mutant["file"] in files:
                    without.setdefault(number, "in a file where the compiler's errors could not be laid to any mutant")
        say(f"turn {turn + 1}: {len(errors)} errors, {len(without) - before} mutants less")
        (OUT / "unviable.json").write_text(json.dumps(without))
        if len(without) == before:
            for error in errors[:10]:
                print(error.get("rendered"))
            sys.exit(2)
    sys.exit(2)


def blamed(error, ranges):
    """The mutants to which a compiler's error is due: in whose text it points, or else those in what it points to."""
    spans = sorted(error["spans"], key=lambda span: not span["is_primary"])
    spans += [span for child in error["children"] for span in child["spans"]]
    for span in spans:
        while span:
            own = ranges.get(span["file_name"], [])
            around = [r for r in own if r[1] <= span["byte_start"] and span["byte_end"] <= r[2]]
            if around:
                return [min(around, key=lambda r: r[2] - r[1])[0]]
            span = span["expansion"]["span"] if span.get("expansion") else None
    for span in spans:
        inside = {r[0] for r in ranges.get(span["file_name"], []) if span["byte_start"] <= r[1] and r[2] <= span["byte_end"]}
        if inside:
            return list(inside)
    # The closest before it, in what is written beside one another.
    for span in spans:
        before = [r for r in ranges.get(span["file_name"], []) if r[2] <= span["byte_start"] and span["byte_start"] - r[2] < 60]
        if before:
            return [max(before, key=lambda r: r[2])[0]]
    return []


def build(tests):
    """The test programs: a name and what is run, and where."""
    targets = [flag for test in tests for flag in (["--lib"] if test == "lib" else ["--test", test])] or ["--lib", "--bins", "--tests"]
    built = cargo("test", "--no-run", "--workspace", "--all-features", *targets, "--message-format=json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    programs = []
    for message in messages(built):
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            print(message["message"]["rendered"])
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            name = f"{folder.name if folder != TREE else 'countersign'}/{message['target']['name']}"
            programs.append((name, message["executable"], folder))
    if built.returncode != 0:
        sys.exit(2)
    return programs


def execute(program, names, environment, timeout):
    """Runs tests of one program. Gives whether they passed: True, False, or None for not within the time."""
    _, executable, folder = program
    # Without Cargo's variables some tests would look for their files elsewhere.
    environment = dict(os.environ, CARGO_MANIFEST_DIR=str(folder), RUST_BACKTRACE="0", **environment)
    threads = "1" if len(names) == 1 else "2"
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([executable, "--exact", *names, "--test-threads", threads], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            child.wait(timeout)
            passed = child.returncode == 0
        except subprocess.TimeoutExpired:
            passed = None
        # What a test has started, too.
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        output.seek(0)
        return passed, output.read()[-4000:].decode(errors="replace")


def baseline(programs, jobs):
    """Each test by itself, without a mutant: how long it takes and what it reaches."""
    tests = []
    for program in programs:
        out = subprocess.run([program[1], "--list", "--format", "terse"], cwd=program[2], text=True, stdout=subprocess.PIPE).stdout
        tests += [(program, line.removesuffix(": test")) for line in out.splitlines() if line.endswith(": test")]
    say(f"{len(tests)} tests in {len(programs)} programs")

    def one(test):
        program, name = test
        with tempfile.TemporaryDirectory() as folder:
            reached = pathlib.Path(folder) / "reached"
            begun = time.monotonic()
            passed, output = execute(program, [name], {"MUTANTS_REACHED": str(reached)}, 60)
            took = time.monotonic() - begun
            numbers = sorted({int(line) for line in reached.read_text().split()}) if reached.exists() else []
            return dict(program=program[0], name=name, took=took, passed=passed, reached=numbers, output=None if passed else output)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, tests))
    (OUT / "baseline.json").write_text(json.dumps(results))
    return results


class Run:
    def __init__(self, programs, results, budget):
        self.programs = {program[0]: program for program in programs}
        self.reaching = collections.defaultdict(list)
        self.budget = budget
        self.kills = collections.Counter()
        for result in results:
            if result["passed"]:
                for number in result["reached"]:
                    self.reaching[number].append(result)

    def mutant(self, number, deadline=None):
        """The tests that reach it, the quick ones first, until one fails."""
        tests = sorted(self.reaching[number], key=lambda t: t["took"] / (1 + self.kills[(t["program"], t["name"])]))
        if not tests:
            return dict(number=number, outcome="not reached")
        spent, at, size = 0.0, 0, 1
        while at < len(tests):
            batch = tests[at:at + size]
            at += size
            size = min(size * 2, 32)
            by_program = collections.defaultdict(list)
            for test in batch:
                by_program[test["program"]].append(test)
            for name, group in by_program.items():
                expected = sum(test["took"] for test in group)
                if spent + expected > self.budget and spent > 0:
                    return dict(number=number, outcome="open", budget=self.budget, reached_by=len(tests), tried=at - len(batch))
                passed, _ = execute(self.programs[name], [test["name"] for test in group], {"MUTANT": str(number)}, 20 + 8 * expected)
                spent += expected
                if passed is not True:
                    if len(group) == 1:
                        self.kills[(name, group[0]["name"])] += 1
                    return dict(number=number, outcome="timeout" if passed is None else "caught", by=[name, [test["name"] for test in group]])
        return dict(number=number, outcome="survived", reached_by=len(tests))


def fitting(mutants):
    """The test targets for the files that these mutants are in."""
    return [test for place, tests in FITTING.items() if any(it["file"].startswith(place) for it in mutants) for test in tests]


def ordered(numbers, mutants, seed):
    """At random, but the same each time: where there is no time for all, it is a sample."""
    random.Random(seed).shuffle(numbers)
    return numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-diff")
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no mutant after this, but for a minute's worth")
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for a mutant, as they take without it")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tests", action="append", default=[], help="test targets (lib for the unit tests); all if none is named")
    parser.add_argument("--fitting-tests", action="store_true", help="those that FITTING names for the files of the mutants")
    parser.add_argument("--step", choices=["list", "weave", "build", "baseline", "run"], default="run", help="the last one to do")
    parser.add_argument("--again", action="store_true", help="use the build and the baseline that are there")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.again:
        mutants = json.loads((OUT / "mutants.json").read_text())
        woven, without, programs = json.loads((OUT / "build.json").read_text())
        programs = [(name, executable, pathlib.Path(folder)) for name, executable, folder in programs]
    else:
        mutants = listed(arguments)
        say(f"{len(mutants)} mutants")
        if not mutants or arguments.step == "list":
            return
        woven, without = weave(mutants)
        say(f"{len(woven['woven'])} woven, {len(without)} do not compile, {len(woven['left_out'])} cannot be switched")
        if arguments.step == "weave":
            return
        if arguments.fitting_tests:
            arguments.tests = fitting(mutants)
        programs = build(arguments.tests)
        (OUT / "build.json").write_text(json.dumps([woven, without, [(p[0], p[1], str(p[2])) for p in programs]]))
        if arguments.step == "build":
            return
    if arguments.again and (OUT / "baseline.json").exists():
        results = json.loads((OUT / "baseline.json").read_text())
    else:
        results = baseline(programs, arguments.jobs)
    for result in results:
        if not result["passed"]:
            say(f"without any mutant {result['program']} {result['name']} {'fails' if result['passed'] is False else 'does not end'}")
    if arguments.step == "baseline":
        return
    run = Run(programs, results, arguments.budget)
    numbers = ordered([int(number) for number in woven["woven"]], mutants, arguments.seed)
    outcomes, lock = {}, threading.Lock()
    store = OUT / "outcomes.json"
    if arguments.again and store.exists():
        outcomes = json.loads(store.read_text())
        numbers = [n for n in numbers if str(n) not in outcomes or outcomes[str(n)].get("budget", arguments.budget) < arguments.budget]
    say(f"{len(numbers)} mutants to try, seed {arguments.seed}")

    # However long the build took: none at all would be no test.
    until = max(STARTED + arguments.minutes * 60, time.monotonic() + 60)

    def one(number):
        if time.monotonic() > until:
            return
        outcome = run.mutant(number)
        outcome["name"] = mutants[number - 1]["name"]
        with lock:
            outcomes[str(number)] = outcome
            if outcome["outcome"] in ("survived", "not reached"):
                say(f"{outcome['outcome']}: {outcome['name']}")
            if len(outcomes) % 20 == 0:
                store.write_text(json.dumps(outcomes))

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, numbers))
    store.write_text(json.dumps(outcomes))
    counts = collections.Counter(outcome["outcome"] for outcome in outcomes.values())
    say(f"{dict(counts)}, {len(without)} do not compile, {len(woven['woven']) - len(outcomes)} not tried")
    if counts["survived"] or counts["not reached"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
