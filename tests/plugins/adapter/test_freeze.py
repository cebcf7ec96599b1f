import adapters
import pytest
import tiny

from etude.config.schema.plugins import AdapterConfig
from etude.errors import ConfigError
from etude.network.adapter import adapt, layers


def freeze(**values: list[str]) -> dict[str, AdapterConfig]:
    return {"freeze": tiny.part("adapter", "freeze", **values)}


def test_what_is_trained_learns_whatever_froze_it() -> None:
    made = tiny.network()
    adapt(made, freeze(frozen=["*"], trained=["*norm.bias", "stack.blocks.1.mlp.*"]))
    learns = {name for name, p in made.named_parameters() if p.requires_grad}
    assert "stack.blocks.0.mixer_norm.bias" in learns
    assert "stack.blocks.1.mlp.up.weight" in learns
    assert not any("blocks.0.mlp." in name or name.endswith("q.weight") for name in learns)


def test_behind_another_adapter_it_sets_weights_free() -> None:
    made = tiny.network()
    adapt(made, adapters.chosen("ia3") | freeze(frozen=[], trained=["stack.norm.*"]))
    assert made.stack.norm.weight.requires_grad
    assert all(p.requires_grad for layer in layers(made) for p in layer.own())


def test_before_another_adapter_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"freeze has nothing to train in adapter=.freeze,lora"):
        adapt(tiny.network(), freeze() | adapters.chosen("lora"))


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        adapt(tiny.network(), freeze(frozen=["*"]))


def test_a_pattern_that_fits_no_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"adapter=freeze: heads\* fits no name.*stack.blocks.\*."
    ):
        adapt(tiny.network(), freeze(frozen=["heads*"]))


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="both empty"):
        freeze(frozen=[])
