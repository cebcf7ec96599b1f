"""Laws of every stream in every family: caches, packing and padding, the order of tokens."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.plugin_files import options
from etude.laws import architecture as laws
from etude.laws.trial import Trial
from etude.laws.verdict import Verdict


@pytest.mark.parametrize("stream", options("architecture/stream"))
@pytest.mark.parametrize("family", options("architecture"))
def test_a_network_keeps_the_capabilities_of_its_family(
    family: str, stream: str, tmp_path: Path
) -> None:
    config: Any = tiny.stack(family, stream=stream, n_layers=3)
    trial = Trial(config.stream, tiny.experiment("clm", tmp_path), tmp_path, None, {family: config})
    for law in (
        laws.gradients_reach_every_weight,
        laws.causal,
        laws.bidirectional,
        laws.reads_a_source,
        laws.cached_equals_uncached,
        laws.padding_changes_nothing,
        laws.packed_equals_separate,
    ):
        finding = law(trial)
        assert finding.verdict is not Verdict.BROKEN, f"{law.__name__}: {finding.evidence}"
