"""1 for a completion whose code passes the reference's tests, 0 for any other.

The code is the last fenced block, or the whole completion; the reference is Python that raises if
the code is wrong, such as asserts (Chen et al. 2021, https://arxiv.org/abs/2107.03374).

Each program runs in its own process: isolated Python without site packages, an empty environment
and an empty temporary folder; limits on memory, CPU time, file size and processes; a time limit,
after which its process group is killed; its own network namespace, where the system allows one. An
audit hook refuses sockets, other processes, ctypes, signals, and writing outside its folder. It
passes only if it reaches the end of the tests: exiting early is a failure.

This stops accidents and the usual tricks, not deliberate attacks: files can be read, an audit hook
is not a security boundary (PEP 578), root may raise its limits, and code in the tests' process can
look for their secret, or return objects that equal everything. For such code, train in a container.
"""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier, code_of, require_references

CHILD = """\
import builtins, ctypes, json, os, resource, sys
arguments = json.loads(sys.stdin.read())
def run(code, tests, secret, seconds, memory):
    out, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET
    except (AttributeError, OSError):
        pass
    limits = {"AS": memory, "CPU": seconds, "FSIZE": 2**20, "NPROC": 0, "CORE": 0}
    for name, limit in limits.items():
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
        except (AttributeError, OSError, ValueError):
            pass
    refused = ("socket.", "subprocess.", "ctypes.", "signal.", "resource.", "pty.", "shutil.",
               "os.fork", "os.exec", "os.system", "os.posix_spawn", "os.spawn", "os.kill",
               "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link",
               "os.symlink", "os.truncate", "os.utime", "os.chdir", "os.putenv")
    home, writing = os.path.realpath(".") + os.sep, os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
    real, decode, begins = os.path.realpath, os.fsdecode, str.startswith
    def watch(event, values):
        outside = event == "open" and values[2] & writing and not isinstance(values[0], int)
        if begins(event, refused) or outside and not begins(real(decode(values[0])), home):
            raise PermissionError(event + " is not allowed here")
    sys.addaudithook(watch)
    scope = {"__name__": "__main__", "__builtins__": builtins}
    for text in (code, tests):
        exec(compile(text, "program", "exec"), scope)
    os.write(out, secret.encode())
run(**arguments)
"""


@dataclass
class PythonTestsConfig(RewardConfig):
    timeout_s: float = 5.0
    """Time limit of a program, in seconds; one that is still running then fails."""
    memory_mb: int = 512
    """Memory limit of a program, in MiB."""
    parallel: int = 4
    """Programs that run concurrently."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 0.5, f"timeout_s must be at least 0.5, got {self.timeout_s}")
        require(self.memory_mb >= 64, f"memory_mb must be at least 64, got {self.memory_mb}")
        require(self.parallel >= 1, f"parallel must be at least 1, got {self.parallel}")


def passes(code: str, tests: str, timeout_s: float, memory_mb: int) -> bool:
    """Whether the code and then the tests run to completion in a process of their own."""
    secret = secrets.token_hex(16)
    arguments = {
        "code": code,
        "tests": tests,
        "secret": secret,
        "seconds": math.ceil(timeout_s),
        "memory": memory_mb * 2**20,
    }
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-W", "ignore", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(arguments).encode(), timeout_s)
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        out.seek(0)
        return out.read(len(secret) + 1) == secret.encode()


@plugin(PythonTestsConfig)
class PythonTests(Verifier[PythonTestsConfig]):
    """1 if every test passes, else 0."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        tests = require_references(self.config, prompts, references)
        with ThreadPoolExecutor(self.config.parallel) as pool:
            return list(pool.map(self._score, completions, tests))

    def _score(self, completion: str, tests: str) -> float:
        limits = self.config.timeout_s, self.config.memory_mb
        return float(passes(code_of(completion), tests, *limits))

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
