"""1 for a completion whose code passes the reference's tests, 0 for any other.

The code is the last fenced block, or the whole completion; the reference is Python that raises if
the code is wrong, such as asserts (Chen et al. 2021, https://arxiv.org/abs/2107.03374). A program
has the standard library and may use threads and asyncio, but no other process. It passes only if it
reaches the end of the tests: exiting early is a failure.

Each program runs in a sandbox (see plugins/_sandbox/sandbox.py), which a hostile one cannot leave:
it has no access to files, processes, memory or networks of this machine, and nothing of it outlives
its limits. If the system cannot give a sandbox, the reward refuses to start. With `trusted`,
programs run without one, with the rights of this process; only an audit hook, which is no security
boundary (PEP 578), then refuses sockets, processes, ctypes, signals and writing outside an empty
folder.

A sandbox protects the machine, not the reward: the tests run in the program's process, where it may
look for them, or return objects that equal everything.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier, code_of, require_references

from .._sandbox.sandbox import Sandbox


@dataclass
class PythonTestsConfig(RewardConfig):
    timeout_s: float = 5.0
    """Time limit of a program, in seconds; one that is still running then fails."""
    memory_mb: int = 512
    """Memory limit of a program, in MiB."""
    parallel: int = 4
    """Programs that run concurrently."""
    trusted: bool = False
    """Run programs without a sandbox, with all rights of this process; for systems without one."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 0.5, f"timeout_s must be at least 0.5, got {self.timeout_s}")
        require(self.memory_mb >= 64, f"memory_mb must be at least 64, got {self.memory_mb}")
        require(self.parallel >= 1, f"parallel must be at least 1, got {self.parallel}")


@plugin(PythonTestsConfig)
class PythonTests(Verifier[PythonTestsConfig]):
    """1 if every test passes, else 0."""

    def __init__(self, config: PythonTestsConfig) -> None:
        super().__init__(config)
        limits = config.timeout_s, config.memory_mb
        self.sandbox = Sandbox("reward=python_tests", *limits, config.trusted)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        tests = require_references(self.config, prompts, references)
        programs = map(code_of, completions)
        with ThreadPoolExecutor(self.config.parallel) as pool:
            return list(map(float, pool.map(self.sandbox.completes, programs, tests)))

    def bench(self) -> list[Bench]:
        """Programs that never end are not included, because each takes `timeout_s`."""
        return [
            Bench(
                "assert double(3) == 6\nassert double(0) == 0",
                right=["```python\ndef double(x):\n    return 2 * x\n```"],
                wrong=["def double(x): return x + 3", "print(6)"],
                malformed=["", "def double(x:"],
                adversarial=[
                    "raise SystemExit(0)",
                    "import os\nos._exit(0)",
                    "import sys\ndef double(x): sys.exit(0)",
                    "print('passed')\ntry: double\nexcept NameError: raise SystemExit",
                    "import socket\nsocket.socket()\ndef double(x): return 2 * x",
                ],
            )
        ]
