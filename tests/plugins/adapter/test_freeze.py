import adapters
import pytest
import tiny

from etude.config.schema.plugins import AdapterConfig
from etude.errors import ConfigError
from etude.network.adapter import adapt, layers


def freeze(**values: list[str]) -> dict[str, AdapterConfig]:
    return {"freeze": tiny.part("adapter", "freeze", **values)}


def test_trained_overrides_frozen() -> None:
    made = tiny.network()
    adapt(made, freeze(frozen=["*"], trained=["*norm.bias", "stack.blocks.1.mlp.*"]))
    trainable = {name for name, p in made.named_parameters() if p.requires_grad}
    assert "stack.blocks.0.mixer_norm.bias" in trainable
    assert "stack.blocks.1.mlp.up.weight" in trainable
    assert not any("blocks.0.mlp." in name or name.endswith("q.weight") for name in trainable)


def test_after_another_adapter_it_unfreezes_weights() -> None:
    made = tiny.network()
    adapt(made, adapters.choice("ia3") | freeze(frozen=[], trained=["stack.norm.*"]))
    assert made.stack.norm.weight.requires_grad
    assert all(p.requires_grad for layer in layers(made) for p in layer.added_parameters())


def test_before_another_adapter_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"freeze has no trainable weights in .*=.freeze,lora"):
        adapt(tiny.network(), freeze() | adapters.choice("lora"))


def test_freezing_everything_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no trainable weights"):
        adapt(tiny.network(), freeze(frozen=["*"]))


def test_a_pattern_that_matches_no_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(
        ConfigError, match=r"adapter=freeze: heads\* matches no name.*stack.blocks.\*."
    ):
        adapt(tiny.network(), freeze(frozen=["heads*"]))


def test_a_config_without_patterns_is_an_error() -> None:
    with pytest.raises(ValueError, match="both empty"):
        freeze(frozen=[])
