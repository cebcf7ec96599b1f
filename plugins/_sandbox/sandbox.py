"""Runs programs that a policy wrote where a hostile one can do no harm.

A program has its own user, process, mount, network and IPC namespaces, no capabilities, and only
system calls that reach its own files, memory, threads and clocks. It sees Python, read-only, and an
empty /tmp of 2 MiB: no other file, device, process or variable of the host. Nothing of it outlives
its time limit or this process. Under root, it runs as nobody.
"""

import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from etude import ConfigError

from . import child, installation
from .jobs import N_PROOF, N_SIZE, READY

START = """\
import sys
sys.path.append(sys.argv.pop(1))
from _sandbox.{module} import main
sys.path.pop()
main()
"""
"""The folder is last on the path, so that no plugin hides a module of the standard library."""
WAYS_OUT = """
  A sandbox needs Linux on x86-64 or ARM64 with user namespaces for everyone; containers and some
  distributions forbid them. They may be allowed by sysctl user.max_user_namespaces=10000, by
  sysctl kernel.apparmor_restrict_unprivileged_userns=0, or by
  docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined.
  Without a sandbox, a policy may do all that this process may: {node}.trusted=true."""


class Sandbox:
    """Runs programs for a plugin, with limits of time, in seconds, and of memory, in MiB.

    `name` is its choice, such as `reward=python_tests`. Programs may import `library`, an installed
    package. If the policy is trusted, they are not isolated; raises ConfigError if the system
    cannot isolate them otherwise.
    """

    def __init__(
        self, name: str, timeout_s: float, memory_mb: int, trusted: bool, library: str | None = None
    ) -> None:
        self._name = name
        self._limits = str(timeout_s), str(memory_mb * 2**20)
        self._trusted = trusted
        self.packages = [] if library is None else [folder_of(library)]
        self._view: list[str] = []
        if not trusted:
            libraries = [] if library is None else [library]
            process = self._start(installation, [*self.packages, *libraries], "/")
            self._view = os.fsdecode(self._read(process, b"")).splitlines()
        if not self.completes("import json", "assert json.loads('1') == 1"):
            raise self.refusal(b"a program that imports json failed")

    def completes(self, code: str, tests: str) -> bool:
        """Whether the code and then the tests run to their end."""
        proof = secrets.token_hex(N_PROOF // 2)
        given = b"".join(map(with_size, (code, tests, proof)))
        with tempfile.TemporaryDirectory() as folder:
            return self._read(self.start("tests", folder), given) == READY + proof.encode()

    def output(self, code: str) -> str:
        """What a program writes to its standard output, and the error that ends it, if any."""
        with tempfile.TemporaryDirectory() as folder:
            written = self._read(self.start("output", folder), with_size(code))
        return written.removeprefix(READY).decode(errors="replace")

    def start(self, job: str, folder: str = "/") -> subprocess.Popen[bytes]:
        """Starts a job, see `child`; a trusted one works in the folder."""
        arguments = [job, str(os.getpid()), *self._limits, *self._view]
        return self._start(child, arguments, folder)

    def refusal(self, errors: bytes) -> ConfigError:
        """The error for a process that ended before it could run a text of a policy."""
        lines = errors.decode(errors="replace").splitlines() or ["it was killed"]
        verb = "start" if self._trusted else "isolate"
        ways_out = "" if self._trusted else WAYS_OUT.format(node=node_of(self._name))
        return ConfigError(f"{self._name} cannot {verb} a program: {lines[-1]}.{ways_out}")

    def _start(
        self, module: ModuleType, arguments: Sequence[str], folder: str
    ) -> subprocess.Popen[bytes]:
        """Starts `main` of a module of this folder, without an environment."""
        program = START.format(module=module.__name__.rpartition(".")[2])
        command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", program]
        return subprocess.Popen(
            [*command, str(Path(__file__).parents[1]), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            start_new_session=True,
        )

    def _read(self, process: subprocess.Popen[bytes], given: bytes) -> bytes:
        with process:
            written, errors = process.communicate(given)
        if not written:
            raise self.refusal(errors)
        return written


def node_of(choice: str) -> str:
    """The key of the config that a choice gives; there may be several rewards."""
    group, _, name = choice.partition("=")
    return f"{group}.{name}" if group == "reward" else group


def with_size(text: str) -> bytes:
    """A text as a job reads it."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(N_SIZE, "big") + data


def folder_of(library: str) -> str:
    """The folder in which a package is installed."""
    spec = importlib.util.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parents[1])
