import time
from pathlib import Path
from typing import Any

import pytest
import tiny

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


def reward(**values: float) -> Any:  # the plugin's class
    return build(tiny.part("reward", "python_tests", **values))


def test_code_that_passes_the_tests_is_rewarded() -> None:
    tests = "assert double(3) == 6\nassert double('a') == 'aa'"
    right = "Like this:\n```python\nimport json, re, typing\ndef double(x): return x * 2\n```"
    completions = [right, "def double(x): return x + x", "def double(x): return 2 + x", "double"]
    assert reward()(["?"] * 4, completions, [tests] * 4) == [1.0, 1.0, 0.0, 0.0]
    inside = "open('x', 'w').write('y')\nassert open('x').read() == 'y'"
    assert reward()(["?"], [inside], ["pass"]) == [1.0]


def test_harmful_programs_are_blocked_and_fail(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    programs = [program.format(outside=str(outside)) for program in HARM.values()]
    scores = reward()(["?"] * len(HARM), programs, ["pass"] * len(HARM))
    assert dict(zip(HARM, scores, strict=True)) == dict.fromkeys(HARM, 0.0)
    assert not outside.exists()


def test_endless_programs_are_killed_in_time_and_in_parallel() -> None:
    programs = ["while True: pass", "import time; time.sleep(60)", "x = 1"]
    start = time.monotonic()
    assert reward(timeout_s=0.5, parallel=3)(["?"] * 3, programs, ["x = 2"] * 3) == [0.0, 0.0, 1.0]
    assert time.monotonic() - start < 1.5


def test_limits_too_small_for_any_program_are_refused() -> None:
    for name, value in (("timeout_s", 0.1), ("memory_mb", 1), ("parallel", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            reward(**{name: value})
