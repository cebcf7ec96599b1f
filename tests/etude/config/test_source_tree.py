"""Classes and modules are found in syntax trees, without importing anything."""

import ast
from pathlib import Path

import pytest

import etude.plugins
from etude.config.plugin_files import find
from etude.config.source_tree import SOURCE, imported_file, lineage, tree_of


def test_the_base_classes_of_a_config_come_first() -> None:
    names = [node.name for node, _ in lineage("HingeConfig", find("objective/hinge"))]
    assert names[0] == "PluginConfig"
    assert names[-3:] == ["PreferenceConfig", "ReferenceConfig", "HingeConfig"]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("from etude.config import x", "config/__init__.py"),
        ("from etude.errors import x", "errors.py"),
        ("from numpy import x", None),
    ],
)
def test_an_import_of_etude_is_a_file(text: str, file: str | None) -> None:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.ImportFrom)
    assert imported_file(node, SOURCE / "errors.py") == (file and SOURCE / file)


def test_a_file_is_parsed_once() -> None:
    assert tree_of(SOURCE / "errors.py") is tree_of(SOURCE / "errors.py")


@pytest.mark.parametrize("module", ["._masking", "etude.plugins.objective._masking"])
def test_a_private_module_of_another_plugin_folder_is_found(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "objective/mine.py"
    file.parent.mkdir()
    file.write_text(f"from {module} import MaskedConfig\n\n\nclass Mine(MaskedConfig):\n    pass\n")
    monkeypatch.setattr(etude.plugins, "__path__", [*etude.plugins.__path__, str(tmp_path)])
    assert "ObjectiveConfig" in [node.name for node, _ in lineage("Mine", file)]
