"""Fixtures that provide a working directory of toy plugins."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toys import TOYS, YAML, write_plugin

import etude.plugins


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `plugins/` and `conf/` of toys."""
    folder = tmp_path_factory.mktemp("toys")
    for address, (base, fields, declared) in TOYS.items():
        write_plugin(folder / "plugins", address, base, fields, declared)
    for name, text in YAML.items():
        file = folder / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def toys(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the folder of toys the working directory."""
    monkeypatch.chdir(toy_folder)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    return toy_folder


@pytest.fixture
def more_plugins(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Writes more plugins into the folder of $ETUDE_PLUGINS."""
    monkeypatch.setenv(etude.plugins.VARIABLE, str(tmp_path / "more"))

    def write(address: str, text: str) -> Path:
        file = tmp_path / "more" / f"{address}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
        return file

    return write
