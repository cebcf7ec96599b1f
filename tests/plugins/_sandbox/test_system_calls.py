import importlib
import re
from pathlib import Path
from typing import Any

import pytest

system_calls: Any = importlib.import_module("etude.plugins._sandbox.system_calls")
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("needs the kernel's headers")
    definition = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)")
    known = dict(definition.findall(HEADERS[machine].read_text()))
    known.setdefault("newfstatat", known.get("fstatat"))
    column, _, clone = system_calls.MACHINES[machine]
    calls = [call.split() for call in system_calls.ALLOWED.split(",")]
    assert {name: numbers[column] for name, *numbers in calls} == {
        name: known.get(name, "-") for name, *_ in calls
    }
    assert known["clone"] == str(clone)
