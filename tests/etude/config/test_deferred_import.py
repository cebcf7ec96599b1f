import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from etude.config.deferred_import import DeferringLoader, complete
from etude.config.import_parts import COMPLETE

SOURCE = """
import sys
from dataclasses import dataclass
import numpy
LOADED = []
@dataclass
class Config:
    size: int = 1
    def array(self): return zeros(self.size)
def zeros(n): return numpy.zeros(n)
LOADED_TWICE = [numpy.__name__, LOADED.append(1)]
OWN = getattr(sys.modules[__name__], "not_there", numpy.e)
"""
BROKEN = """
from dataclasses import dataclass
from etude import plugin
from etude.config import RewardConfig
from nothing_of_that_name import reward
@dataclass
class BrokenConfig(RewardConfig):
    size: int = 1
@plugin(BrokenConfig)
class Broken:
    rewards = reward
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """A module whose first part was executed."""
    file = tmp_path / "deferred_toy.py"
    file.write_text(SOURCE)
    loader = DeferringLoader("deferred_toy", str(file))
    spec = spec_from_loader("deferred_toy", loader)
    assert spec is not None
    made = module_from_spec(spec)
    sys.modules["deferred_toy"] = made
    loader.exec_module(made)
    yield made
    del sys.modules["deferred_toy"]


def test_the_rest_is_executed_once_when_a_name_of_it_is_read(module: ModuleType) -> None:
    assert "numpy" not in vars(module)
    assert module.LOADED == []
    for _ in range(2):
        assert module.zeros(2).shape == (2,)
        complete(module)
    assert module.LOADED == [1]


def test_a_method_executes_the_rest_that_it_needs(module: ModuleType) -> None:
    assert module.Config(3).array().shape == (3,)
    assert module.LOADED == [1]


def test_a_class_of_the_first_part_stays_the_same_class(module: ModuleType) -> None:
    before = module.Config(2)
    complete(module)
    assert isinstance(before, module.Config)
    assert pickle.loads(pickle.dumps(before)) == module.Config(2)


def test_an_unknown_name_is_an_attribute_error_and_python_asks_for_its_own(
    module: ModuleType,
) -> None:
    with pytest.raises(AttributeError, match="'deferred_toy' has no attribute '__path__'"):
        module.__path__  # noqa: B018
    assert "numpy" not in vars(module)
    with pytest.raises(AttributeError, match="'deferred_toy' has no attribute 'zeroes'"):
        module.zeroes  # noqa: B018


def test_a_rest_that_fails_fails_again(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="numpy"):
            vars(module)[COMPLETE]()
    monkeypatch.undo()
    assert module.zeros(1).shape == (1,)


def run(program: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    return done.stdout


def test_a_face_imports_its_files_only_when_a_name_is_read() -> None:
    program = """
import sys
import etude.network, etude.training.length
assert not {"torch", "numpy"} & set(sys.modules)
from etude.network import stack
assert "torch" in sys.modules and "etude.network.decoding" not in sys.modules
from etude.network import Decoding
assert Decoding.__module__ == "etude.network.decoding"
"""
    run(program)


def test_a_config_is_pickled_without_torch() -> None:
    program = """
import pickle, sys
from etude.config.registry import load, plugin_of
config = load("objective/dpo").config(beta=0.5)
data = pickle.dumps(config)
assert "torch" not in sys.modules
print(data.hex())
"""
    loaded = """
import pickle, sys
config = pickle.loads(bytes.fromhex(sys.argv[1]))
assert "torch" not in sys.modules
from etude.config.registry import plugin_of
plugin_of(config).build
assert "torch" in sys.modules and isinstance(config, plugin_of(config).config)
print(config.beta)
"""
    assert run(loaded, run(program).strip()).strip() == "0.5"


def test_an_error_in_the_rest_is_reported_when_the_plugin_is_built(tmp_path: Path) -> None:
    file = tmp_path / "reward/broken.py"
    file.parent.mkdir()
    file.write_text(BROKEN)
    program = """
from etude.config.registry import load
from etude.errors import ConfigError
plugin = load("reward/broken")
try:
    plugin.build
except ConfigError as error:
    print(error)
"""
    report = run(program, ETUDE_PLUGINS=str(tmp_path))
    assert "reward/broken cannot be imported: ModuleNotFoundError" in report
    assert f"{file}:5, in <module>" in report


@pytest.mark.slow
def test_a_deferred_module_has_the_names_that_python_gives_it() -> None:
    """Both parts bind what an ordinary import binds, for every plugin and private module."""
    program = """
import json, sys
from importlib import import_module
from etude.config import deferred_import
from etude.config.plugin_files import ROOT, addresses
if sys.argv[1] == "whole":
    finder = [f for f in sys.meta_path if isinstance(f, deferred_import.DeferringFinder)]
    sys.meta_path.remove(finder[0])
for address in addresses():
    deferred_import.complete(import_module(f"{ROOT}.{address.replace('/', '.')}"))
size = 0
while size < len(sys.modules):  # private modules, which import others
    size = len(sys.modules)
    for name in [name for name in sys.modules if name.startswith(ROOT + ".")]:
        deferred_import.complete(sys.modules[name])
own = {deferred_import.COMPLETE, "__mark__", "__getattr__"}
names = {name: vars(sys.modules[name]) for name in sys.modules if name.startswith(ROOT + ".")}
print(json.dumps({name: sorted(set(found) - own) for name, found in names.items()}))
"""
    deferred, whole = (json.loads(run(program, how)) for how in ("deferred", "whole"))
    assert deferred == whole
