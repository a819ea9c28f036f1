"""Starts child processes, and ends them with all their descendants. Every wait is bounded."""

import contextlib
import ctypes
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

PR_SET_CHILD_SUBREAPER = 36


def start(command, **options):
    """Starts a child in its own session and process group."""
    return subprocess.Popen(command, start_new_session=True, **options)


def end(process, first=signal.SIGTERM, within=30):
    """Signals the process group of the child, and kills it if the child does not end in time.
    Returns the exit code."""
    signal_group(process, first)
    try:
        process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        process.wait(timeout=30)
        return f"killed: still running {within} s after {first.name}"
    finally:
        # Processes that the child left behind.
        signal_group(process, signal.SIGKILL)
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    return process.returncode


def signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def run(command, timeout=60, check=False, **options):
    """Runs a program to its end, like `subprocess.run`. A timeout also ends the processes it
    started."""
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        out, error = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        out, error = process.communicate(timeout=30)
        raise AssertionError(f"{command[0]} did not end within {timeout} s:\n{out}\n{error}") from None
    finally:
        end(process, signal.SIGKILL)
    if check and process.returncode != 0:
        raise AssertionError(f"{command[0]}: exit code {process.returncode}:\n{out}\n{error}")
    return subprocess.CompletedProcess(command, process.returncode, out, error)


class Program:
    """A child process that reads and writes lines."""

    def __init__(self, command, **options):
        self.name = pathlib.Path(command[0]).name
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self._lines = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def read_line(self, within=30):
        try:
            line = self._lines.get(timeout=within)
        except queue.Empty:
            raise AssertionError(f"{self.name} wrote no line within {within} s") from None
        assert line is not None, f"{self.name} ended early"
        return line

    def write_line(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self, within=30):
        """Closes the input, which must end the program. Returns the exit code."""
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=within)
        return self.end()

    def end(self, within=30):
        code = self.process.poll()
        ended = end(self.process, within=within)
        self._reader.join(timeout=10)
        return ended if code is None else code


def adopt_orphans():
    """Makes this process the parent of all descendants whose own parent has ended, so that `descendants` finds them."""
    assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())


def descendants():
    """The command lines of all running descendants of this process, by process id."""
    parents, commands = {}, {}
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
            parents[int(directory.name)] = int(parent)
            # A zombie holds no resources.
            if state != "Z":
                commands[int(directory.name)] = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: command for child, command in commands.items() if child in found and child != os.getpid()}


def assert_none_left(before=(), within=10):
    """Fails if descendants other than those in `before` are still running, and kills them."""
    deadline = time.monotonic() + within
    while left := {child: command for child, command in descendants().items() if child not in before}:
        if time.monotonic() > deadline:
            for child in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            raise AssertionError(f"processes left behind: {left}")
        time.sleep(0.1)


def assert_no_panic(log):
    """Fails with the first line of a server's log that reports a panic."""
    panics = [line for line in pathlib.Path(log).read_text(errors="replace").splitlines() if "panicked at" in line]
    assert not panics, f"{log}: {panics[0]}"
