"""Which groups take any number of plugins, and which take one or none."""

from etude.config.root_schemas import multi_choice_groups, optional_groups


def test_groups_that_are_dicts_of_a_root_take_any_number_of_plugins() -> None:
    assert {"filter", "reward", "callback", "evaluator"} <= multi_choice_groups()
    assert not multi_choice_groups() & {"objective", "data", "prompting", "scorer", "trainer"}


def test_groups_whose_default_is_none_take_one_plugin_or_none() -> None:
    assert {"template", "environment", "generator"} == optional_groups()
