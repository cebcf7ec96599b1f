"""A stop signal ends a process immediately, whatever its code catches, with its children."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from etude.processes import EXIT_CODES, ended_by_signals, handling

START = "from etude.processes import *\nimport hashlib, os, signal, subprocess, sys, time\n"


@contextmanager
def started(program: str) -> Generator[subprocess.Popen[str]]:
    """Starts a program that prints `ready`, and waits for that."""
    with subprocess.Popen(
        [sys.executable, "-c", START + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


CATCHES_EVERYTHING = """
with ended_by_signals():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            pass
"""
INSIDE_A_LIBRARY = """
with ended_by_signals():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.parametrize("number", EXIT_CODES)
@pytest.mark.parametrize("program", [CATCHES_EVERYTHING, INSIDE_A_LIBRARY])
def test_a_signal_ends_any_code_with_its_exit_code(number: signal.Signals, program: str) -> None:
    with started(program) as process:
        process.send_signal(number)
        _, shown = process.communicate(timeout=5)
    assert process.returncode == EXIT_CODES[number]
    assert shown.startswith(f"Stopped by {number.name}. ")
    assert "Traceback" not in shown


def test_the_hint_says_how_to_go_on_and_printed_lines_are_not_lost() -> None:
    program = """
with ended_by_signals(), hint_when_stopped("Come back."):
    print("a result")
    os.write(1, b"ready\\n")
    time.sleep(60)
"""
    with started(program) as process:
        process.terminate()
        assert process.communicate(timeout=20) == ("a result\n", "Stopped by SIGTERM. Come back.\n")


def test_another_handler_decides_while_it_is_set() -> None:
    program = """
received = []
with ended_by_signals():
    with handling(lambda number, frame: received.append(number)):
        print("ready", flush=True)
        while not received:
            time.sleep(0.001)
        time.sleep(1)
    sys.exit(3)
"""
    with started(program) as process:
        process.terminate()
        assert process.wait(timeout=20) == 3


def test_the_signal_of_a_forked_child_does_not_reach_its_parent() -> None:
    program = """
with ended_by_signals():
    print("ready", flush=True)
    child = os.fork()
    if child == 0:
        time.sleep(9)
        os._exit(1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    time.sleep(0.7)
    sys.exit(status)
"""
    with started(program) as process:
        assert process.wait(timeout=20) == signal.SIGTERM


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in EXIT_CODES]
    with ended_by_signals(), handling(lambda number, frame: None):
        assert [signal.getsignal(number) for number in EXIT_CODES] != before
    assert [signal.getsignal(number) for number in EXIT_CODES] == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    program = """
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"],
    preexec_fn=lambda: end_with_parent(signal.SIGKILL),
)
print("ready", flush=True)
time.sleep(60)
"""
    with started(program) as process:
        process.kill()
        process.communicate(timeout=5)  # until the child too has closed its output
