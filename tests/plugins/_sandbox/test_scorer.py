import importlib
import math
import os
from pathlib import Path
from typing import Any

import pytest
from sandboxes import isolates, processes_of, wait_until

from etude.errors import ConfigError

sandboxes: Any = importlib.import_module("etude.plugins._sandbox.sandbox")
scorers: Any = importlib.import_module("etude.plugins._sandbox.scorer")
EVALUATES = "import os, time\ndef score(answer): return eval(answer)"
BOTH = pytest.mark.parametrize("trusted", [pytest.param(False, marks=isolates), True])


def scorer(program: str, trusted: bool = False, timeout_s: float = 1.0) -> Any:  # a plugin's class
    return scorers.Scorer(sandboxes.Sandbox("reward=toy", timeout_s, 256, trusted), program)


@BOTH
def test_an_answer_changes_no_score_but_its_own(trusted: bool) -> None:
    answers = {
        "0.25": 0.25,
        "os._exit(0)": math.nan,
        "[os.write(d, b'1.0') for d in range(20)]": math.nan,
        "'1\\n1\\n1'": math.nan,
        "globals().update(score=lambda answer: 1.0)": math.nan,
        "os.kill(os.getppid(), 9)": math.nan,
        "[0] * 10**9": math.nan,
        "time.sleep(60)": math.nan,
        "1": 1.0,
        "é": math.nan,
    }
    found = scorer(EVALUATES, trusted)([*answers])
    assert found == pytest.approx([*answers.values()], nan_ok=True)


@isolates
def test_an_answer_does_not_reach_the_host(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("1")
    answers = [f"open({str(kept)!r}).read()", f"open({str(kept)!r}, 'w')", "os.fork()"]
    answers += ["1 / (os.system('true') == 0)", "len(os.listdir('/proc'))", "os.mkfifo('x') or 1"]
    assert all(map(math.isnan, scorer(EVALUATES)(answers)))
    assert kept.read_text() == "1"


@BOTH
def test_a_scorer_is_kept_and_ends_with_its_owner(trusted: bool) -> None:
    before = processes_of(os.getpid())
    made = scorer(EVALUATES, trusted)
    assert made([]) == []
    assert made(["1"]) == made(["1"]) == [1.0]
    assert processes_of(os.getpid()) > before
    del made
    wait_until(lambda: processes_of(os.getpid()) == before)


@BOTH
def test_a_scorer_that_fails_is_refused(trusted: bool) -> None:
    with pytest.raises(ConfigError, match=r"reward=toy cannot .* No module named 'nothing'"):
        scorer("import nothing", trusted)
