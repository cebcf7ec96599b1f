"""Runs Python programs that may be hostile, each in a sandbox of its own.

A program has its own user, process, mount, network and IPC namespaces, no capabilities, and only
system calls that reach its own files, memory, threads and clocks. It sees the standard library,
read-only, and an empty /tmp of 2 MiB: no other file, device, process or variable of the host.
Nothing of it outlives its time limit or this process. Under root, programs run as nobody.
"""

import functools
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from etude import ConfigError

from . import child, installation

START = """\
import sys
sys.path.append(sys.argv.pop(1))
from _sandbox.{module} import main
sys.path.pop()
main()
"""
"""This folder is last on the path, so that no plugin hides a module of the standard library."""
REFUSAL = """\
reward=python_tests: programs cannot run on this system ({reason}).
  Their sandbox needs Linux on x86-64 or ARM64 with user namespaces for everyone; containers and
  some distributions forbid them. They may be allowed by sysctl user.max_user_namespaces=10000, by
  sysctl kernel.apparmor_restrict_unprivileged_userns=0, or by
  docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined.
  Without a sandbox, programs may do all that this process may: reward.python_tests.trusted=true.\
"""


class Sandbox:
    """Runs programs with a time limit in seconds and a memory limit in MiB.

    A trusted program is not isolated. Raises ConfigError if another cannot be.
    """

    def __init__(self, timeout_s: float, memory_mb: int, trusted: bool) -> None:
        self._limits = str(timeout_s), str(memory_mb * 2**20)
        self._view = () if trusted else installation_files()
        if not self.completes("import json", "assert json.loads('1') == 1"):
            raise ConfigError(REFUSAL.format(reason="a program that only imports json failed"))

    def completes(self, code: str, tests: str) -> bool:
        """Whether the code and then the tests run to their end in a process of their own."""
        parts = [text.encode("utf-8", "surrogatepass") for text in (code, tests)]
        proof = secrets.token_hex(child.N_PROOF // 2).encode()
        sizes = [str(len(part)) for part in parts]
        arguments = str(os.getpid()), *self._limits, *sizes, *self._view
        results = start(child, b"".join((*parts, proof)), *arguments)
        return results == child.READY + proof


@functools.cache
def installation_files() -> tuple[str, ...]:
    """What a program sees of the host."""
    return tuple(os.fsdecode(start(installation, b"")).splitlines())


def start(module: ModuleType, given: bytes, *arguments: str) -> bytes:
    """Returns what `main` of a module of this folder writes in a process of its own.

    Raises ConfigError with the last line of its errors if it writes nothing.
    """
    program = START.format(module=module.__name__.rpartition(".")[2])
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", program]
    command += [str(Path(__file__).parents[1]), *arguments]
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            command, input=given, capture_output=True, cwd=folder, env=kept, start_new_session=True
        )
    if not ended.stdout:
        errors = ended.stderr.decode(errors="replace").splitlines()
        raise ConfigError(REFUSAL.format(reason=errors[-1] if errors else "it was killed"))
    return ended.stdout
