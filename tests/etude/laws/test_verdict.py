import os
import signal
from pathlib import Path

import pytest
import tiny

from etude.errors import InterruptedRunError, PreemptedError
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, Verdict, held, try_law
from etude.training.run_writer import RunWriter


def test_an_error_of_the_plugin_breaks_a_law() -> None:
    def law() -> Finding:
        raise ZeroDivisionError("division\nby zero")

    assert try_law(law) == Finding(Verdict.BROKEN, "raised ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, PreemptedError), (signal.SIGINT, InterruptedRunError)]
)
def test_a_signal_in_a_run_of_a_law_stops_the_check(
    number: signal.Signals, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path)
    write = RunWriter._write

    def write_and_stop(self: RunWriter, line: dict[str, float]) -> None:
        write(self, line)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(RunWriter, "_write", write_and_stop)
    trial = Trial(config.strategy, config, tmp_path)
    with pytest.raises(error):
        try_law(lambda: held(str(trial.whole)))
