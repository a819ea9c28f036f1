"""Runs every command of the README in order, as a user does who pastes them line by line.

The `sh` blocks run in one shell, in a fresh clone that shares the build directory. A free port
replaces
8080. `demo` is stopped with Ctrl-C once it reports that it serves. `./scripts/test` is not run,
      because it runs this script. The variables of PostgreSQL (PGHOST and the like) are set from
      KEYSWAP_TEST_POSTGRES.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))
from ports import reserve_port  # noqa: E402
from processes import Program, adopt_orphans, assert_none_left, end, run  # noqa: E402


def blocks(text):
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_demo(command, cwd, env):
    """Runs the demo until it reports that it serves, and then sends Ctrl-C."""
    demo = Program(["bash", "-c", command], cwd=cwd, env=env)
    shown = []
    try:
        while not shown or "Serving until Ctrl-C" not in shown[-1]:
            # Cargo may have to build it first.
            shown.append(demo.read_line(within=1200))
    except AssertionError as failure:
        demo.end()
        sys.exit("\n".join(["the demo failed:", *shown, str(failure)]))
    # Ctrl-C reaches cargo as well, which exits with 130.
    code = end(demo.process, first=signal.SIGINT, within=60)
    if code not in (0, 130, -signal.SIGINT):
        sys.exit("\n".join([f"the demo ended with {code}:", *shown]))


def main():
    adopt_orphans()
    text = (ROOT / "README.md").read_text()
    commands = blocks(text)
    assert len(commands) >= 8, "the README has lost its commands"
    port = str(reserve_port())
    postgres = urlsplit(os.environ["KEYSWAP_TEST_POSTGRES"])
    env = dict(os.environ)
    env.update(PGHOST=postgres.hostname, PGPORT=str(postgres.port), PGUSER=postgres.username)
    env.update(KEYSWAP__SERVER__BIND=f"127.0.0.1:{port}", KEYSWAP__SERVER__PUBLIC_URL=f"http://127.0.0.1:{port}")

    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "keyswap")
        run(["git", "clone", "-q", ROOT, clone], check=True)
        # The files of the working tree with their times, so that Cargo considers its build as
        # current.
        for name in run(["git", "ls-files"], cwd=ROOT, check=True).stdout.splitlines():
            shutil.copy2(ROOT / name, clone / name)
        (clone / "target").symlink_to(ROOT / "target")
        started = time.monotonic()
        passed = 0
        script = ["set -em", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
        for block in commands:
            if block.strip() == "./scripts/test":
                continue
            if block.strip().endswith(" demo"):
                run_demo(block.strip(), clone, env)
                passed += 1
                continue
            script.append(block.replace("8080", port))
            script.append("echo; echo '-- a block of the README ran --'")
        result = run(["bash", "-c", "\n".join(script)], timeout=300, cwd=clone, env=env)
        print(result.stdout)
        print(result.stderr, file=sys.stderr)
        passed += result.stdout.count("-- a block of the README ran --")
        wanted = len(commands) - 1
        if result.returncode != 0 or passed != wanted:
            sys.exit(f"the README does not work: {passed} of {wanted} blocks ran, exit code {result.returncode}")
        assert_none_left()
        # Two responses must contain a token.
        assert result.stdout.count('"access_token":"ey') == 2, "a swap of the README gave no token"
        print(f"README: {passed} passed, 0 failed in {time.monotonic() - started:.0f} s")


main()
