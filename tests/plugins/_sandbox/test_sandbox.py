import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_programs import KINDS
from sandboxes import UNSHARE, isolates, processes_of, wait_until

sandboxes: Any = importlib.import_module("etude.plugins._sandbox.sandbox")
IMPORTS = "from etude.plugins._sandbox.sandbox import Sandbox\n"
SUPPORT = Path(__file__).parents[3] / "support"


def command(program: str, *before: str) -> list[str]:
    """A Python program with the path of this one, started by another program if one is given."""
    path = f"import sys\nsys.path[:0] = {[str(SUPPORT), *sys.path]}\n"
    return [*before, sys.executable, "-c", path + IMPORTS + program]


@isolates
@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.02, 0.04, 0.08, 0.3])
def test_programs_end_with_the_trainer_even_if_it_is_killed(after_s: float) -> None:
    program = (
        "sandbox = Sandbox('reward=python_tests', 60.0, 512, trusted=False)\n"
        "print('ready', flush=True)\n"
        "sandbox.completes('while True: pass', 'pass')\n"
    )
    with subprocess.Popen(command(program), stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout
        trainer.stdout.readline()
        time.sleep(after_s)
        trainer.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes_of(trainer.pid))


@isolates
def test_a_program_ends_with_its_supervisor_even_if_it_is_killed() -> None:
    sandbox = sandboxes.Sandbox("reward=python_tests", 60.0, 512, trusted=False)
    before = processes_of(os.getpid())
    texts = b"".join(map(sandboxes.with_size, ("while True: pass", "pass", "x")))
    with sandbox.start("tests") as supervisor:
        supervisor.stdin.write(texts)
        supervisor.stdin.flush()
        wait_until(lambda: len(processes_of(os.getpid()) - before) == 2)
        supervisor.kill()
    wait_until(lambda: processes_of(os.getpid()) == before)


@isolates
def test_a_system_without_namespaces_is_refused_unless_the_policy_is_trusted() -> None:
    program = (
        "from etude import ConfigError\n"
        "sandbox = Sandbox('reward=python_tests', 5.0, 512, trusted=True)\n"
        "print(sandbox.completes('x = 1', 'assert x == 1'))\n"
        "try: Sandbox('reward=python_tests', 5.0, 512, trusted=False)\n"
        "except ConfigError as error: print(error)\n"
    )
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    shell = *UNSHARE, "sh", "-c", forbid
    ended = subprocess.run(command(program, *shell), capture_output=True, text=True)
    assert ended.stdout.startswith(
        "True\nreward=python_tests cannot isolate a program: OSError: [Errno 28] unshare: "
        "No space left on device.\n"
    ), ended
    assert "user.max_user_namespaces" in ended.stdout
    assert "reward.python_tests.trusted=true" in ended.stdout


@isolates
@pytest.mark.slow
@pytest.mark.parametrize(
    "container",
    [UNSHARE, ("unshare", "--user", "--map-user=1000", "--map-group=1000")],
    ids=["root without other users", "an ordinary user"],
)
def test_no_program_escapes_in_a_container(container: tuple[str, ...], tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if kind != "resources"]  # root has no limit of threads
    program = (
        "from pathlib import Path\n"
        "from hostile_programs import escaped\n"
        "sandbox = Sandbox('reward=python_tests', 1.0, 512, trusted=False)\n"
        f"for kind in {kinds}:\n"
        "    run = lambda programs: [sandbox.completes(one, 'pass') for one in programs]\n"
        f"    print(kind, escaped(kind, Path({str(tmp_path)!r}), run))\n"
    )
    ended = subprocess.run(command(program, *container), capture_output=True, text=True)
    assert ended.stdout.splitlines() == [f"{kind} []" for kind in kinds], ended.stderr
