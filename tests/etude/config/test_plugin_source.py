"""Plugin descriptions are read without running the plugin."""

from collections.abc import Callable
from pathlib import Path

import pytest

from etude.config.plugin_source import base_option, describe, heading, presets
from etude.errors import ConfigError

Write = Callable[[str, str], Path]
PLUGIN = '''"""Splits at spaces, which costs nothing.

Nobody 1901.
"""
import nothing_of_that_name
from dataclasses import dataclass
from typing import ClassVar
from etude import plugin
from etude.config.schema.plugins import DataConfig, option
from etude.config.schema.blocks import MlpConfig

@dataclass
class Middle(DataConfig):
    width: float = 2.0
    """Of a space,
    in points."""

@dataclass
class Config(Middle):
    seq_len: int = 64
    must: str = MISSING
    part: MlpConfig = option("toy_gelu")
    several: list[int] = field(default_factory=list[int])
    shared: ClassVar[int] = 3

@plugin(Config, yields=Text, lr={lr})
def make(config): ...
'''


def test_own_and_inherited_knobs_have_type_default_and_help(more_plugins: Write) -> None:
    more_plugins("data/toy_read", PLUGIN.format(lr="3e-4"))
    plugin = describe("data/toy_read")
    knobs = {knob.name: knob for knob in plugin.knobs}
    assert plugin.summary == "Splits at spaces, which costs nothing."
    assert (knobs["width"].type, knobs["width"].default) == ("float", "2.0")
    assert knobs["width"].help == "Of a space, in points."
    assert knobs["seq_len"].default == "64"
    assert knobs["seq_len"].help == "Longest sequence given to the network, in tokens."
    assert knobs["val_fraction"].default == "0.1"
    assert knobs["must"].default is None
    assert (knobs["part"].group, knobs["part"].option) == (True, "toy_gelu")
    assert knobs["several"].default == "[]"
    assert "shared" not in knobs
    assert plugin.declared["lr"] == 3e-4
    assert plugin.names("yields") == {"Text"}


def test_a_declaration_that_is_not_a_literal_is_refused(more_plugins: Write) -> None:
    file = more_plugins("data/toy_read", PLUGIN.format(lr="RATE"))
    with pytest.raises(ConfigError, match="lr=RATE must be a literal") as refusal:
        describe("data/toy_read")
    assert f"{file}:26" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("def (", r":1 is not valid Python"), ("x = 1", "does not register a plugin")],
)
def test_an_error_names_the_broken_file(more_plugins: Write, text: str, message: str) -> None:
    file = more_plugins("data/toy_read", text)
    with pytest.raises(ConfigError, match=message) as refusal:
        describe("data/toy_read")
    assert str(file) in str(refusal.value)


@pytest.mark.usefixtures("toys")
def test_a_preset_has_a_heading_and_a_base_option() -> None:
    preset = presets("architecture")["toy_famous"]
    assert base_option(preset) == "toy_stack"
    assert heading(preset) == "Famous 1901: a stack with another mlp."
    recipe = presets("experiment")["toy_recipe"]
    assert base_option(recipe) is None
    assert heading(recipe) == "Prefers the better one."


def test_the_default_of_a_list_is_a_list() -> None:
    knobs = {knob.name: knob.default for knob in describe("adapter/freeze").knobs}
    assert knobs == {"frozen": "['embedding*']", "trained": "[]"}


def test_a_conditional_knob_has_its_default_and_its_condition() -> None:
    knobs = {knob.name: knob for knob in describe("objective/ppo").knobs}
    assert (knobs["kl_target"].default, knobs["kl_target"].only_with) == (
        "6.0",
        "controller=adaptive",
    )
    assert knobs["beta"].only_with is None
