"""`etude check` is green on every shipped plugin, without further arguments."""

from importlib.util import find_spec

import pytest

from etude.cli.main import main
from etude.cli.verbs.check import TESTABLE
from etude.config.plugin_files import groups, options
from etude.config.plugin_source import presets
from etude.config.registry import load
from etude.laws.fitting import JUDGE

SERVED = ("reward=http", f"{JUDGE}=openai", "data=parquet")
"""They have no default address of a server, or no example file, which is of lines of text."""
NOT_INVARIANT = {"optimizer=soap"}
"""Their updates depend on rounding: see the docstring of each."""
CHOSEN = [
    f"{group}={name}"
    for group in groups()
    if group.partition("/")[0] in TESTABLE
    for name in (*options(group), *(presets(group) if group == "objective" else ()))
    if f"{group}={name}" not in SERVED
]


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of trackers
@pytest.mark.parametrize("chosen", CHOSEN)
def test_every_law_holds_for_a_shipped_plugin(
    chosen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    group, _, name = chosen.partition("=")
    if name in options(group):
        declared = load(f"{group}/{name}").declaration
        needed = declared.libraries or filter(None, (declared.extra,))
        if missing := [library for library in needed if find_spec(library) is None]:
            pytest.skip(f"{missing[0]} is not installed")
    code = main(["check", chosen])
    out = capsys.readouterr().out
    if chosen in NOT_INVARIANT:
        broken = [line for line in out.splitlines() if line.startswith("  broken")]
        assert all("micro batch size" in line or "two devices" in line for line in broken), broken
        return
    assert code == 0, [line for line in out.splitlines() if "broken" in line]
    assert "every law holds" in out
