"""A plugin is one file, and its path is its address."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import etude.plugins
from etude.config import plugin_files, registry
from etude.config.schema.plugins import CorruptionConfig
from etude.errors import ConfigError

Write = Callable[[str, str], Path]
GOOD = """
from dataclasses import dataclass
from etude import plugin
from etude.config.schema.plugins import TokenizerConfig

@dataclass
class Config(TokenizerConfig):
    size: int = 3

@plugin(Config)
def make(config): return ("made", config)
"""


@pytest.mark.usefixtures("toys")
def test_a_nested_path_is_an_address() -> None:
    assert "objective/corruption" in plugin_files.groups()
    assert {"toy_span", "toy_drop"} <= set(plugin_files.options("objective/corruption"))
    assert "corruption" not in plugin_files.options("objective")
    loaded = registry.load("objective/corruption/toy_span")
    assert loaded.address == "objective/corruption/toy_span"
    assert issubclass(loaded.config, CorruptionConfig)
    assert loaded.file == plugin_files.find("objective/corruption/toy_span")


def test_a_new_file_is_a_plugin_without_further_registration(more_plugins: Write) -> None:
    more_plugins("tokenizer/toy_mine", GOOD)
    config = registry.load("tokenizer/toy_mine").config()
    assert registry.build(config) == ("made", config)


def test_two_files_with_the_same_address_are_both_named(more_plugins: Write, toys: Path) -> None:
    other = more_plugins("tokenizer/toy", GOOD)
    with pytest.raises(ConfigError) as refusal:
        plugin_files.find("tokenizer/toy")
    assert str(other) in str(refusal.value)
    assert str(toys / "plugins/tokenizer/toy.py") in str(refusal.value)


def test_an_init_file_that_would_hide_a_group_is_refused(more_plugins: Write) -> None:
    file = more_plugins("tokenizer/__init__", "")
    with pytest.raises(
        ConfigError, match="hides every other plugin of the group tokenizer"
    ) as refusal:
        plugin_files.groups()
    assert str(file) in str(refusal.value)


def test_an_import_error_is_reported_only_if_the_plugin_is_chosen(more_plugins: Write) -> None:
    file = more_plugins("tokenizer/toy_broken", "import nothing_of_that_name")
    assert "toy_broken" in plugin_files.options("tokenizer")
    registry.load("tokenizer/toy")
    with pytest.raises(ConfigError, match="nothing_of_that_name") as refusal:
        registry.load("tokenizer/toy_broken")
    assert str(file) in str(refusal.value)


def test_a_file_without_a_plugin_is_refused_with_the_fix(more_plugins: Write) -> None:
    more_plugins("tokenizer/toy_empty", "x = 1")
    with pytest.raises(ConfigError, match=r"registers 0 plugins.*\n.*@plugin\(Config\)"):
        registry.load("tokenizer/toy_empty")


@pytest.mark.usefixtures("toys")
def test_a_missing_plugin_is_refused_with_the_existing_options() -> None:
    with pytest.raises(ConfigError, match=r"reward=toy_lenght does not exist.\n.*toy_length"):
        plugin_files.find("reward/toy_lenght")


def test_relative_folders_become_absolute_for_child_processes(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(etude.plugins.VARIABLE, os.pathsep.join(["plugins", "./plugins", ""]))
    folders = etude.plugins.folders()
    assert folders.count(str(toys / "plugins")) == 1
    variable = os.environ[etude.plugins.VARIABLE].split(os.pathsep)
    assert variable == [str(toys / "plugins")] * 2
