from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.capability import Capability
from etude.config.capabilities import capabilities_of
from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import load_config, save_config, to_experiment
from etude.errors import CompositionError, ConfigError
from etude.formats.hugging_face import find_layout
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache

HYBRID = "architecture/mixer=hybrid"
RETENTION = "architecture/mixer/main=retention"


def hybrid(main: str = "retention", **values: Any) -> Any:  # the plugin's own class
    chosen = tiny.part("architecture/mixer", main)
    return tiny.part("architecture/mixer", "hybrid", main=chosen, **values)


def kinds(n_layers: int, **values: Any) -> list[str]:
    """The class of the mixer of each layer."""
    made = tiny.network(tiny.stack(mixer=hybrid(**values), n_layers=n_layers))
    return [type(block.mixer).__name__ for block in made.stack.blocks]


def test_every_nth_layer_uses_the_other_mixer() -> None:
    assert kinds(4) == ["Retention"] * 3 + ["Attention"]
    assert kinds(5, other_every=2) == ["Retention", "Attention"] * 2 + ["Retention"]


def test_layers_that_share_weights_are_built_once() -> None:
    made = tiny.network(tiny.stack(mixer=hybrid(other_every=2), n_layers=4, n_groups=2))
    assert [type(block.mixer).__name__ for block in made.stack.blocks] == ["Retention", "Attention"]


@pytest.mark.parametrize("main", ["retention", "gated_delta"])
@torch.no_grad()
def test_decoding_equals_one_pass_and_packed_rows_equal_separate_ones(main: str) -> None:
    config = tiny.stack(mixer=hybrid(main, other_every=2), position="rope", n_layers=4)
    made, ids, cache = tiny.network(config), tiny.tokens(2, 6), KvCache(6)
    whole = made(Inputs(ids))
    tiny.assert_close(torch.cat([made(Inputs(p), cache=cache) for p in ids.split(2, 1)], 1), whole)
    packed = Inputs(ids.view(1, 12), torch.arange(1, 3).repeat_interleave(6)[None])
    tiny.assert_close(made(packed).view_as(whole), whole)


def test_a_network_has_the_capabilities_of_both_mixers() -> None:
    both = capabilities_of(tiny.stack(mixer=hybrid("attention")))
    assert both == capabilities_of(tiny.stack())
    assert capabilities_of(tiny.stack(mixer=hybrid())) == both - {Capability.PREFIX}


def test_a_slot_that_lacks_the_attention_pattern_is_named() -> None:
    choices = ("objective=mlm", "architecture=bert", HYBRID, RETENTION)
    with pytest.raises(CompositionError, match="cannot use architecture/mixer/main=retention"):
        check(to_experiment(compose("train", choices).config))


def test_the_slots_of_a_run_are_restored_from_its_config_file(tmp_path: Path) -> None:
    chosen = compose("train", ("objective=clm", HYBRID, RETENTION, "run=x"))
    config = to_experiment(chosen.config)
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config
    assert type(config.architecture.mixer.main).__name__ == "RetentionConfig"  # type: ignore[attr-defined]


def test_no_model_family_of_transformers_is_a_hybrid() -> None:
    config = tiny.stack(mixer=hybrid("attention"), mlp="swiglu", norm="rmsnorm", position="rope")
    assert find_layout(config, tiny.VOCAB) is None


def test_too_few_layers_are_refused() -> None:
    with pytest.raises((ValueError, ConfigError), match="at least as many layers, got 2"):
        tiny.network(tiny.stack(mixer=hybrid(), n_layers=2))
    with pytest.raises(ValueError, match="other_every must be at least 2, got 1"):
        hybrid(other_every=1)
