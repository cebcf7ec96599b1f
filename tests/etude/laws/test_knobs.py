"""A knob that no code uses breaks a law, however it is hidden."""

from pathlib import Path

import pytest

import etude.plugins
from etude.config.registry import load
from etude.laws.knobs import every_knob_is_read
from etude.laws.trial import Trial
from etude.laws.verdict import Verdict

PLUGIN = '''"""A decoding for the test."""

from dataclasses import dataclass

from etude import plugin, require
from etude.config import DecodingConfig
from etude.network import Decoding


@dataclass
class {name}Config(DecodingConfig):
    shift: float = 0.0
    """Added to the logits."""

    def __post_init__(self) -> None:
        require(self.shift >= 0, "shift must be 0 or more")


@plugin({name}Config)
class {name}(Decoding):
    def __init__(self, config: {name}Config) -> None:
        {init}

    def scores(self, logits, seen):
        return {scores}
'''


@pytest.mark.parametrize(
    ("init", "scores", "verdict"),
    [
        ("self.config = config", "logits + self.config.shift", Verdict.HELD),
        ("self.by = config.shift", "logits + self.by", Verdict.HELD),
        ("self.config = config", "logits", Verdict.BROKEN),
        ("self._by = config.shift", "logits", Verdict.BROKEN),
    ],
)
def test_a_knob_has_to_be_read_and_not_only_checked_or_stored(
    init: str, scores: str, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"Knob{abs(hash((init, scores)))}"
    file = tmp_path / f"decoding/{name.lower()}.py"
    file.parent.mkdir()
    file.write_text(PLUGIN.format(name=name, init=init, scores=scores))
    monkeypatch.setattr(etude.plugins, "__path__", [*etude.plugins.__path__, str(tmp_path)])
    tested = load(f"decoding/{name.lower()}").config()
    finding = every_knob_is_read(Trial(tested, None, tmp_path))  # type: ignore[arg-type]
    assert finding.verdict is verdict
    assert "shift" in finding.evidence
