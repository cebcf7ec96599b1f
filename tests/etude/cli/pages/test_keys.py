"""The listed keys and groups of a verb are those of its YAML config."""

import pytest

from etude.cli.pages.group import purposes, rows
from etude.cli.pages.keys import default_option, help_lines, keys_of, verbs, verbs_with
from etude.config.composition import check_names
from etude.config.hydra_source import declared_default


@pytest.mark.parametrize("verb", verbs())
def test_the_defaults_are_those_that_hydra_chooses(verb: str) -> None:
    choices = check_names(verb.replace("-", "_"), []).choices
    for group, default in keys_of(verb).groups.items():
        chosen = choices.get(group)
        if default.declared_by:
            chosen = declared_default(group, choices["objective"])
        if not default.several:
            assert str(default) == (chosen or "null")


def test_a_verb_that_overrides_a_default_of_train_shows_its_own() -> None:
    assert str(keys_of("check").groups["tokenizer"]) == "byte"
    assert str(keys_of("train").groups["tokenizer"]) == "bpe"
    assert str(verbs_with("tokenizer")["plan"]) == "bpe"
    assert verbs()[0] == "train"


def test_the_default_of_a_nested_group_comes_from_the_preset_of_its_parent() -> None:
    assert default_option("architecture/mlp") == "swiglu"
    assert default_option("callback") is None


def test_the_help_lists_each_group_with_its_default_and_its_show_command() -> None:
    lines = help_lines("label").splitlines()
    assert "min_probability = 0.5  (float)" in lines
    assert [line for line in lines if line.split()[:4] == ["judge=rule", "etude", "show", "judge"]]
    assert "Declared by objective=clm." in help_lines("train")
    assert "Groups" not in help_lines("report")


def test_groups_have_a_purpose() -> None:
    known = purposes()
    assert {"objective", "architecture", "architecture/mlp", "judge"} <= known.keys()
    assert all(text[0].isupper() and text.endswith(".") for text in known.values())


def test_an_option_that_cannot_be_read_is_listed_with_the_error(more_plugins: object) -> None:
    assert callable(more_plugins)
    more_plugins("data/toy_broken", "def (")
    assert any(
        line.startswith("  toy_broken") and "is not valid Python" in line for line in rows("data")
    )
