"""Plugins are typed Hydra config groups, with defaults that the objective declares."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toys import CHOICES

from etude.config.composition import Composition, check_names, compose
from etude.config.hydra_source import PluginSource, multi_choice_groups
from etude.config.plugin_source import base_plugin
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError

pytestmark = pytest.mark.usefixtures("toys")


def composed(*overrides: str) -> Composition:
    return compose("train", [*CHOICES, *overrides])


def test_every_node_is_typed_by_the_config_class_of_its_plugin() -> None:
    config = composed("objective=toy_prefer").config
    assert OmegaConf.get_type(config) is ExperimentConfig
    assert OmegaConf.get_type(config, "objective").__module__.endswith("objective.toy_prefer")
    assert OmegaConf.get_type(config.architecture, "mlp").__module__.endswith("mlp.toy_swiglu")


def test_a_preset_is_based_on_an_architecture_whose_parts_can_be_replaced() -> None:
    assert composed().config.architecture.mlp == {"ratio": 3.0}
    assert composed("architecture=toy_stack").config.architecture.mlp == {"ratio": 4.0}
    swapped = composed("architecture=toy_stack", "architecture/mlp=toy_swiglu")
    assert swapped.config.architecture.mlp == {"ratio": 2.67}


def test_a_part_of_an_objective_is_a_nested_group() -> None:
    assert composed("objective=toy_denoise").config.objective.corruption == {"ratio": 0.15}
    config = composed("objective=toy_denoise", "objective/corruption=toy_drop").config
    assert config.objective.corruption == {"chance": 0.5}


def test_the_objective_sets_the_default_learning_rate_data_and_reward() -> None:
    config = composed("objective=toy_reinforce").config
    assert config.optimizer.lr == 1e-6
    assert OmegaConf.get_type(config, "data").__module__.endswith("toy_prompts")
    assert list(config.reward) == ["toy_length"]
    assert composed().config.reward == {}


@pytest.mark.parametrize("preset", ["toy_gentle", "toy_gentler"])
def test_a_preset_of_an_objective_has_the_declarations_of_the_objective(preset: str) -> None:
    config = composed(f"objective={preset}").config
    assert config.objective == {"beta": 0.01}
    assert config.optimizer.lr == 5e-7
    assert OmegaConf.get_type(config, "data").__module__.endswith("toy_preferences")
    assert (
        base_plugin("objective", preset) == base_plugin("objective", "toy_prefer") == "toy_prefer"
    )


def test_a_recipe_that_chooses_an_objective_gets_its_declared_defaults() -> None:
    plain = [choice for choice in CHOICES if not choice.startswith("objective=")]
    recipe = compose("train", [*plain, "experiment=toy_recipe"])
    assert recipe.config.optimizer.lr == 5e-7
    assert recipe.config.trainer.max_steps == 7
    assert OmegaConf.get_type(recipe.config, "data").__module__.endswith("toy_preferences")
    assert recipe.choices["experiment"] == "toy_recipe"


def test_the_command_line_overrides_the_defaults_of_the_objective() -> None:
    config = composed("optimizer.lr=3", "data=toy_preferences").config
    assert config.optimizer.lr == 3
    assert OmegaConf.get_type(config, "data").__module__.endswith("toy_preferences")


def test_several_plugins_of_a_group_are_typed_under_their_names() -> None:
    config = composed(
        "objective=toy_reinforce", "reward=[toy_length,toy_words]", "reward.toy_words.weight=0.5"
    ).config
    assert config.reward == {
        "toy_length": {"weight": 1.0, "target": 10},
        "toy_words": {"weight": 0.5},
    }
    assert {"reward", "logger", "callback"} <= multi_choice_groups()
    with pytest.raises(ConfigError, match=r"reward.toy_words.weight must be a number, got x"):
        composed("objective=toy_reinforce", "reward=toy_words", "reward.toy_words.weight=x")


def test_virtual_options_are_never_listed() -> None:
    source = PluginSource("etude", "plugin://import")
    assert all(
        not name.startswith(("for_", "_")) for name in source.list("data", results_filter=None)
    )
    assert {"mlp", "position", "toy_stack"} <= set(source.list("architecture", None))


def test_names_are_checked_without_importing_a_plugin(more_plugins: Callable[..., Path]) -> None:
    more_plugins(
        "tokenizer/toy_unimported",
        "from dataclasses import dataclass\nfrom etude import plugin\n"
        "from etude.config.schema.plugins import TokenizerConfig\nimport nothing_of_that_name\n\n"
        "@dataclass\nclass Config(TokenizerConfig):\n    size: int = 3\n\n"
        "@plugin(Config)\ndef make(config): ...\n",
    )
    overrides = [*CHOICES, "tokenizer=toy_unimported"]
    check_names("train", [*overrides, "tokenizer.size=4"])
    assert "etude.plugins.tokenizer.toy_unimported" not in sys.modules
    with pytest.raises(ConfigError, match=r"(?s)tokenizer.sise does not exist.*tokenizer.size"):
        check_names("train", [*overrides, "tokenizer.sise=4"])
