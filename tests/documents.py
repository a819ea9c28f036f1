"""Runs the commands of the documents in order, as a user does who pastes them line by line.

The `sh` blocks of a document run in one shell and in a directory of its own, with a free port in
place of 8080. The README and the quick start run in a fresh clone that shares the build directory;
all other documents in a directory with `config` and `examples`, and with `keyswap` on the PATH. Two
documents run at a time.

The documents use `cargo build --release` and `target/release`. Their commands run with the build of
the tests, in `target/debug`, unless `--release` is given, as by `scripts/prove documents`.

`cargo run -- demo` is stopped with Ctrl-C once it reports that it serves. `./scripts/test` is not
run, because it runs this script. The variables of PostgreSQL (PGHOST and the like) are set from
KEYSWAP_TEST_POSTGRES.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))
from ports import reserve_port  # noqa: E402
from processes import Program, adopt_orphans, assert_none_left, end, run, start  # noqa: E402

RELEASE = "--release" in sys.argv[1:]
PROFILE_DIRECTORY = ROOT / "target" / ("release" if RELEASE else "debug")
README, QUICK_START = "README.md", "docs/quick-start.md"
FOLDERS = ["docs/guides", "docs/operations"]
# These wait for half a minute, and are started first.
SLOW = ["docs/operations/rotate-the-master-key.md", "docs/reference/cli.md"]
WITHOUT_COMMANDS = ["docs/guides/console.md", "docs/guides/verify-tokens.md"]
# How often a pattern must match in what a document prints.
EXPECTED = {
    README: {r'"access_token":"ey': 2, r"(?m)^key_\w+ projects:read$": 1},
    QUICK_START: {r"(?m)^ada projects:read$": 1, r"(?m)\b401$": 1},
}


class Document:
    def __init__(self, name):
        self.name = name
        text = (ROOT / name).read_text()
        found = re.finditer(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        # Each block with the line of its first command.
        self.blocks = [(text.count("\n", 0, block.start(1)) + 1, for_profile(block[1])) for block in found]
        self.port = str(reserve_port())

    def failure(self, line, *output):
        return AssertionError("\n".join([f"{self.name}:{line} failed:", *output]))

    def make_directory(self, scratch):
        directory = Path(scratch, "keyswap")
        if self.name not in (README, QUICK_START):
            for folder in ["config", "examples"]:
                shutil.copytree(ROOT / folder, directory / folder)
            return directory
        run(["git", "clone", "-q", ROOT, directory], check=True)
        # The files of the working tree with their times, so that Cargo considers its build as
        # current.
        for name in run(["git", "ls-files"], cwd=ROOT, check=True).stdout.splitlines():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
        (directory / "target").symlink_to(ROOT / "target")
        return directory

    def environment(self):
        postgres = urlsplit(os.environ["KEYSWAP_TEST_POSTGRES"])
        address = f"127.0.0.1:{self.port}"
        return {
            **os.environ,
            "PATH": f"{PROFILE_DIRECTORY}:{os.environ['PATH']}",
            "PGHOST": postgres.hostname,
            "PGPORT": str(postgres.port),
            "PGUSER": postgres.username,
            "KEYSWAP__SERVER__BIND": address,
            "KEYSWAP__SERVER__PUBLIC_URL": f"http://{address}",
            "KEYSWAP__SERVER__DRAIN_DELAY": "0s",
        }

    def run(self):
        """Runs all blocks and returns how many there were."""
        # A server that is about to end may still write to the directory.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            directory, environment = self.make_directory(scratch), self.environment()
            script, count = ["set -em", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"], 0
            for line, block in self.blocks:
                if block.strip() == "./scripts/test":
                    continue
                count += 1
                if block.startswith("cargo run ") and block.strip().endswith(" demo"):
                    assert count == 1, "the demo runs before the other commands"
                    self.run_demo(line, block.strip(), directory, environment)
                    continue
                # On both outputs, to find out which block has failed and what it printed.
                script += [f"echo; echo '{mark(line)}'", f"echo '{mark(line)}' >&2", block.replace("8080", self.port)]
            code, *outputs = run_shell("\n".join(script), scratch, cwd=directory, env=environment)
            if code != 0:
                line = (re.findall(mark(r"(\d+)"), outputs[0]) or ["1"])[-1]
                shown = [output.rpartition(mark(line))[2].strip() for output in outputs]
                raise self.failure(line, *shown, f"exit code {code}")
            self.check(*outputs)
        return count

    def run_demo(self, line, command, directory, environment):
        """Runs the demo until it reports that it serves, and then sends Ctrl-C."""
        demo = Program(["bash", "-c", command], cwd=directory, env=environment)
        shown = []
        try:
            while not shown or "Serving until Ctrl-C" not in shown[-1]:
                # Cargo may have to build it first.
                shown.append(demo.read_line(within=1200))
        except AssertionError as error:
            demo.end()
            raise self.failure(line, *shown, str(error)) from None
        # Ctrl-C reaches cargo as well, which exits with 130.
        code = end(demo.process, first=signal.SIGINT, within=60)
        if code not in (0, 130, -signal.SIGINT):
            raise self.failure(line, *shown, f"the demo ended with {code}")

    def check(self, stdout, stderr):
        for pattern, times in EXPECTED.get(self.name, {}).items():
            found = len(re.findall(pattern, stdout))
            if found != times:
                message = f"{self.name} prints {pattern} {found} times instead of {times}:"
                raise AssertionError("\n".join([message, stdout, stderr]))


def for_profile(commands):
    if RELEASE:
        return commands
    return re.sub(r"(cargo (?:build|run)) --release", r"\1", commands).replace("target/release", "target/debug")


def mark(line):
    return f"-- the block of line {line} --"


def run_shell(script, scratch, within=300, **options):
    """Runs a script and returns its exit code and outputs. The outputs go to files, because servers
    that the script leaves behind would hold a pipe open."""
    outputs = [Path(scratch, name) for name in ("stdout", "stderr")]
    with outputs[0].open("ab") as stdout, outputs[1].open("ab") as stderr:
        shell = start(["bash", "-c", script], stdout=stdout, stderr=stderr, **options)
        try:
            code = shell.wait(timeout=within)
        except subprocess.TimeoutExpired:
            code = f"none: still running after {within} s"
        finally:
            end(shell)
    return code, *(output.read_text(errors="replace") for output in outputs)


def run_each(documents):
    """Runs documents one after the other, prints a line for each, and returns the failures."""
    failures = []
    for document in documents:
        started = time.monotonic()
        try:
            result = f"{document.run()} passed"
        except AssertionError as failure:
            failures.append(str(failure))
            result = "FAILED"
        print(f"{document.name}: {result} in {time.monotonic() - started:.0f} s", flush=True)
    return failures


def find_documents():
    names = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
    others = [name for name in names if name not in SLOW]
    documents = {name: Document(name) for name in [README, QUICK_START, *SLOW, *others]}
    lost = [name for name, document in documents.items() if not document.blocks and name not in WITHOUT_COMMANDS]
    assert not lost, f"documents without commands: {lost}"
    assert len(documents[README].blocks) >= 8, "the README has lost its commands"
    return {name: document for name, document in documents.items() if document.blocks}


def main():
    adopt_orphans()
    run(["cargo", "build", "--locked", *(["--release"] if RELEASE else [])], cwd=ROOT, check=True, timeout=1800)
    documents = find_documents()
    # The README and the quick start install a verifier into the same directory of `target`.
    first = [documents.pop(README), documents.pop(QUICK_START)]
    with ThreadPoolExecutor(max_workers=2) as workers:
        results = list(workers.map(run_each, [first, *([document] for document in documents.values())]))
    failures = [failure for failed in results for failure in failed]
    if failures:
        print("\n\n".join(failures), file=sys.stderr)
    assert_none_left()
    sys.exit(1 if failures else 0)


main()
