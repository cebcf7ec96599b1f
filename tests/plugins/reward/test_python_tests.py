import time
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build

HARM = {
    "writes outside": "open({outside!r}, 'w').write('x')",
    "writes outside by os": "import os; os.open({outside!r}, os.O_CREAT | os.O_WRONLY)",
    "socket": "import socket; socket.socket()",
    "fork": "import os; os.fork()",
    "process": "import subprocess; subprocess.run(['true'])",
    "memory": "x = bytearray(2**30)",
    "large file": "open('x', 'wb').write(b'x' * 2**22)",
    "ctypes": "import ctypes; ctypes.CDLL(None)",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "recursion": "def f(): f()\nf()",
    "leaves early": "exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "talks over": "import os; os.write(3, b'x' * 99)",
    "reads the terminal": "input()",
}


def reward(**values: float) -> Any:  # the plugin's class
    return build(tiny.part("reward", "python_tests", **values))


def test_code_is_paid_if_it_runs_and_the_tests_find_no_fault() -> None:
    tests = "assert double(3) == 6\nassert double('a') == 'aa'"
    right = "Like this:\n```python\nimport json, re, typing\ndef double(x): return x * 2\n```"
    completions = [right, "def double(x): return x + x", "def double(x): return 2 + x", "double"]
    assert reward()(["?"] * 4, completions, [tests] * 4) == [1.0, 1.0, 0.0, 0.0]
    inside = "open('x', 'w').write('y')\nassert open('x').read() == 'y'"
    assert reward()(["?"], [inside], ["pass"]) == [1.0]


def test_harm_is_refused_and_fails(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    programs = [program.format(outside=str(outside)) for program in HARM.values()]
    scores = reward()(["?"] * len(HARM), programs, ["pass"] * len(HARM))
    assert dict(zip(HARM, scores, strict=True)) == dict.fromkeys(HARM, 0.0)
    assert not outside.exists()


def test_programs_that_never_end_are_killed_in_time_several_at_once() -> None:
    programs = ["while True: pass", "import time; time.sleep(60)", "x = 1"]
    start = time.monotonic()
    assert reward(timeout_s=0.5, parallel=3)(["?"] * 3, programs, ["x = 2"] * 3) == [0.0, 0.0, 1.0]
    assert time.monotonic() - start < 1.5


def test_limits_that_no_program_could_run_under_are_refused() -> None:
    for name, value in (("timeout_s", 0.1), ("memory_mb", 1), ("parallel", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            reward(**{name: value})
