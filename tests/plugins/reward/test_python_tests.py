import os
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from hostile_programs import KINDS, escaped
from sandboxes import isolates, processes_of

from etude.config.registry import build

HARM = {
    "writes outside": "open({outside!r}, 'w').write('x')",
    "writes outside with os": "import os; os.open({outside!r}, os.O_CREAT | os.O_WRONLY)",
    "socket": "import socket; socket.socket()",
    "fork": "import os; os.fork()",
    "process": "import subprocess; subprocess.run(['true'])",
    "memory": "x = bytearray(2**30)",
    "large file": "open('x', 'wb').write(b'x' * 2**22)",
    "ctypes": "import ctypes; ctypes.CDLL(None)",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "recursion": "def f(): f()\nf()",
    "exits early": "exit(0)",
    "exits immediately": "import os; os._exit(0)",
    "writes to the result": "import os; os.write(3, b'x' * 99)",
    "reads standard input": "input()",
}
"""What the audit hook of trusted programs blocks."""
ORDINARY = {
    "files": (
        "import shutil, tempfile\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    open(folder + '/a', 'w').write('x')\n"
        "    shutil.copy(folder + '/a', folder + '/b')\n"
        "open('x', 'w').write('y')\n"
        "assert open('x').read() == 'y'"
    ),
    "a database": "import sqlite3\nsqlite3.connect('x').execute('create table t (x)')",
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: assert [*pool.map(abs, [-1] * 50)] == [1] * 50"
    ),
    "asyncio": (
        "import asyncio\n"
        "async def f(): return await asyncio.to_thread(abs, -3)\n"
        "assert asyncio.run(f()) == 3"
    ),
    "an alarm": "import signal\nsignal.signal(signal.SIGALRM, print)\nsignal.alarm(1)",
    "libraries": "import ctypes, decimal, lzma, random, ssl, uuid\nuuid.uuid4()",
    "unittest": (
        "import unittest\n"
        "class Test(unittest.TestCase):\n"
        "    def test_a(self): self.assertEqual(1, 1)\n"
        "assert unittest.main(exit=False).result.testsRun == 1"
    ),
    "pickle": "import pickle\nclass A: pass\nassert isinstance(pickle.loads(pickle.dumps(A())), A)",
    "a result": "print('x' * 10**6)",
}


def reward(**values: Any) -> Any:  # the plugin's class
    return build(tiny.part("reward", "python_tests", **values))


def scores(programs: Sequence[str], **values: Any) -> list[float]:
    """The rewards of programs without tests."""
    n = len(programs)
    return reward(**values)(["?"] * n, programs, ["pass"] * n)


@pytest.mark.parametrize("trusted", [pytest.param(False, marks=isolates), True])
def test_code_that_passes_the_tests_is_rewarded(trusted: bool) -> None:
    tests = "assert double(3) == 6\nassert double('a') == 'aa'"
    right = "Like this:\n```python\nimport json, re, typing\ndef double(x): return x * 2\n```"
    completions = [right, "def double(x): return x + x", "def double(x): return 2 + x", "double"]
    completions += ["\ud800", "\0", ""]
    made = reward(trusted=trusted)
    n = len(completions)
    assert made(["?"] * n, completions, [tests] * n) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    inside = "open('x', 'w').write('y')\nassert open('x').read() == 'y'"
    assert made(["?"], [inside], ["pass"]) == [1.0]


@isolates
def test_ordinary_programs_work_in_the_sandbox() -> None:
    found = dict(zip(ORDINARY, scores([*ORDINARY.values()]), strict=True))
    assert found == dict.fromkeys(ORDINARY, 1.0)


@isolates
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_program_neither_escapes_nor_is_rewarded(kind: str, tmp_path: Path) -> None:
    assert escaped(kind, tmp_path, lambda programs: scores(programs, timeout_s=1.0)) == []


@isolates
def test_a_program_does_not_see_what_an_earlier_one_wrote() -> None:
    made = reward(parallel=1)
    programs = ["open('x', 'w')", "open('x')"]
    assert made(["?"] * 2, programs, ["pass"] * 2) == [1.0, 0.0]


@isolates
def test_programs_inherit_no_descriptor_but_their_own(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        program = (
            "import os\n"
            "def is_open(d):\n"
            "    try: return bool(os.fstat(d))\n"
            "    except OSError: return False\n"
            "assert sum(map(is_open, range(1024))) == 5"  # standard streams, request and result
        )
        assert scores([program]) == [1.0]


@pytest.mark.parametrize("trusted", [pytest.param(False, marks=isolates), True])
def test_endless_programs_are_killed_in_time_and_in_parallel(trusted: bool) -> None:
    programs = ["while True: pass", "import time; time.sleep(60)", "x = 1"]
    made = reward(timeout_s=0.5, parallel=3, trusted=trusted)
    before = processes_of(os.getpid())
    start = time.monotonic()
    assert made(["?"] * 3, programs, ["x = 2"] * 3) == [0.0, 0.0, 1.0]
    assert time.monotonic() - start < 1.5
    assert processes_of(os.getpid()) == before


@isolates
def test_a_flood_of_output_is_not_kept() -> None:
    made = reward(timeout_s=0.5)
    tracemalloc.start()
    flood = "import os\nwhile True: os.write(4, b'x' * 2**20)"
    assert made(["?"], [flood], ["pass"]) == [0.0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_trusted_programs_are_watched_by_an_audit_hook(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    programs = [program.format(outside=str(outside)) for program in HARM.values()]
    assert dict(zip(HARM, scores(programs, trusted=True), strict=True)) == dict.fromkeys(HARM, 0.0)
    assert not outside.exists()


def test_limits_too_small_for_any_program_are_refused() -> None:
    for name, value in (("timeout_s", 0.1), ("memory_mb", 1), ("parallel", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            reward(**{name: value})
