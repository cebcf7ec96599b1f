from typing import Any

import numpy as np
import pytest

from etude.errors import ConfigError
from etude.plugins.environment.python import Python, PythonConfig

RNG = np.random.default_rng(0)
CALL = "<python>{}</python>"


def environment(**config: Any) -> Python:
    try:
        return Python(PythonConfig(**config))
    except ConfigError:
        pytest.skip("this system gives no sandbox")


@pytest.fixture(scope="module")
def python() -> Python:
    return environment()


def reply(python: Python, program: str) -> str | None:
    return python.step({}, CALL.format(program), RNG).text


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("print(2 ** 100)", str(2**100)),
        ("import math\nprint(math.gcd(12, 18))\nprint('b')", "6\nb"),
        ("x = 1", ""),
        ("print('a')\n1 / 0", "a\nZeroDivisionError: division by zero"),
        ("print(", "SyntaxError: '(' was never closed (program, line 1)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            "open('/etc/passwd')",
            "FileNotFoundError: [Errno 2] No such file or directory: '/etc/passwd'",
        ),
    ],
)
def test_the_reply_is_what_the_program_prints(python: Python, program: str, shown: str) -> None:
    assert reply(python, program) == f"<result>{shown}</result>"


def test_a_program_starts_anew_each_time(python: Python) -> None:
    reply(python, "x = 1")
    assert reply(python, "print(x)") == "<result>NameError: name 'x' is not defined</result>"


def test_a_turn_without_a_call_ends_the_episode(python: Python) -> None:
    assert python.step({}, "the answer is 4", RNG).text is None


def test_a_long_output_is_cut() -> None:
    python = environment(max_chars=10)
    assert reply(python, "print('a' * 10**6)") == f"<result>{'a' * 10}</result>"


@pytest.mark.slow
def test_a_program_that_never_ends_has_its_output_until_its_time_is_over() -> None:
    python = environment(timeout_s=0.5)
    assert reply(python, "print('a', flush=True)\nwhile True: pass") == "<result>a</result>"
