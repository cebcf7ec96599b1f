"""Groups, nodes and keys have their own pages."""

from etude.cli.pages.node import group_page, key_page, keys, plugin_key_page
from etude.cli.pages.plugin import keys_page


def test_a_group_page_lists_its_options_and_the_keys_of_its_default() -> None:
    page = group_page("data")
    assert page.startswith("data: ")
    assert "\n  arithmetic " in page
    assert "data=python_docs is the default of etude train, which objective=clm declares." in page
    assert "etude label" in page
    assert page.endswith(f"{keys_page('data', 'python_docs')}\n\nNested groups: data/record.")


def test_a_group_without_a_default_lists_its_options() -> None:
    assert "Its keys" not in group_page("callback")
    assert "\n  dpo " in group_page("experiment")


def test_a_group_page_lists_nested_groups() -> None:
    assert "Nested groups: architecture/block, " in group_page("architecture")


def test_a_key_page_shows_each_meaning_with_its_verbs() -> None:
    page = key_page("seed") or ""
    assert page.count("seed = 0  (int)") == 3
    assert "Used by etude check, etude data, etude inspect, etude plan, etude train." in page
    assert key_page("sead") is None


def test_a_node_page_shows_all_its_keys_and_a_key_page_only_one() -> None:
    node = key_page("trainer") or ""
    assert node.startswith("trainer: ")
    assert "trainer.max_steps = null  (int, null)" in node
    one = key_page("trainer.precision") or ""
    assert one.startswith("trainer.precision = 32  (32, 64, bf16-mixed,")
    assert "max_steps" not in one


def test_the_page_of_a_plugin_key_lists_every_plugin_that_has_it() -> None:
    page = plugin_key_page("objective.scale") or ""
    assert "objective.scale = group  (group, batch, none)" in page
    assert "In objective=grpo." in page
    assert plugin_key_page("reward.tolerance") == plugin_key_page("reward.numeric.tolerance")
    assert plugin_key_page("objective.nothing") is None


def test_every_key_has_a_page() -> None:
    known = keys()
    assert {"trainer", "trainer.keep", "seed", "prompt", "objective.beta"} <= known
    own = [key for key in known if key_page(key)]
    rest = sorted(known - {*own})
    assert all(plugin_key_page(key) for key in rest[:: len(rest) // 5])
