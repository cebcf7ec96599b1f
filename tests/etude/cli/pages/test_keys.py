"""What a verb takes is what its YAML composes."""

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


def test_a_verb_that_changes_a_default_of_training_has_its_own() -> None:
    assert str(keys_of("check").groups["tokenizer"]) == "byte"
    assert str(keys_of("train").groups["tokenizer"]) == "bpe"
    assert str(verbs_with("tokenizer")["plan"]) == "bpe"
    assert verbs()[0] == "train"


def test_the_default_of_a_nested_group_is_that_of_the_preset_around_it() -> None:
    assert default_option("architecture/mlp") == "swiglu"
    assert default_option("callback") is None


def test_the_help_has_each_group_with_its_default_and_its_command() -> None:
    lines = help_lines("label").splitlines()
    assert "min_probability = 0.5  (float)" in lines
    assert [line for line in lines if line.split()[:4] == ["judge=rule", "etude", "show", "judge"]]
    assert "Declared by objective=clm." in help_lines("train")
    assert "Groups" not in help_lines("report")


def test_groups_say_what_they_are_for() -> None:
    known = purposes()
    assert {"objective", "architecture", "architecture/mlp", "judge"} <= known.keys()
    assert all(text[0].isupper() and text.endswith(".") for text in known.values())


def test_an_option_that_cannot_be_read_is_named_with_the_reason(more_plugins: object) -> None:
    assert callable(more_plugins)
    more_plugins("data/toy_broken", "def (")
    assert any(line.startswith("  toy_broken") and "is not Python" in line for line in rows("data"))
