import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from etude.data.workers import AHEAD, Workers, workers
from etude.errors import DataError


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.stop()


def test_results_have_the_order_of_the_items(pool: Workers) -> None:
    assert list(pool.map(time.sleep, (0.2, 0.0, 0.1))) == [None] * 3
    assert list(pool.map(abs, range(-9, 9))) == [abs(i) for i in range(-9, 9)]


def test_items_are_taken_as_results_are_used(pool: Workers) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    assert next(pool.map(abs, items())) == 0
    assert len(taken) <= AHEAD * pool.n + 1


def test_an_error_is_raised_in_this_process(pool: Workers) -> None:
    with pytest.raises(ValueError, match="math domain error"):
        list(pool.map(math.sqrt, (4, -1)))
    assert list(pool.map(math.sqrt, (4, 9))) == [2, 3]


def test_what_a_function_prints_is_no_result(pool: Workers) -> None:
    assert list(pool.map(print, ("to the error output", "too"))) == [None, None]


def test_a_process_that_ends_is_an_error_and_no_process_remains() -> None:
    with pytest.raises(DataError, match="ended with code 7"), workers() as pool:  # noqa: PT012
        list(pool.map(abs, [1]))
        list(pool.map(os._exit, [7]))
    assert not [one for one in psutil.Process().children() if "serve()" in one.cmdline()[-1:]]


def test_the_processes_end_in_silence_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from etude.data.workers import Workers\npool = Workers(2)\n"
        "list(pool.map(abs, range(4)))\n"
        "print(*[one._process.pid for one in pool._all], flush=True)\n"
        "list(pool.map(bytes, [10**6] * 10**5))\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        started = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
        assert not psutil.wait_procs(started, timeout=60)[1]
        assert parent.stderr is not None
        assert not parent.stderr.read()


def test_a_stop_in_the_middle_of_an_item_waits_for_nothing() -> None:
    start = time.monotonic()
    with workers() as pool:
        slow = pool.map(time.sleep, [0.0, *[100.0] * 20])
        next(slow)
    assert time.monotonic() - start < 50


def test_little_text_is_left_to_one_process() -> None:
    assert not Workers(2).pay(10**6)
    assert Workers(2).pay(10**8)
    assert not Workers(1).pay(10**8)
