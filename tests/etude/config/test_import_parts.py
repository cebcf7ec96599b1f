import ast
from pathlib import Path

import pytest

from etude.config.import_parts import COMPLETE, MARK, bindings, heavy_names, split
from etude.config.plugin_files import addresses, find
from etude.config.plugin_slips import valid_registration
from etude.config.source_tree import tree_of

IN_DATA = {f"data/{name}" for name in ("conll", "csv", "hub", "jsonl", "parquet", "text")}
"""Plugins whose base config is in the room `data`, which imports numpy, but not torch."""
PLUGIN = '''"""A plugin."""

import math
from dataclasses import dataclass

import torch

from etude import plugin, require
from etude.config import RewardConfig
from etude.objective import Loss, Reward

BASE = 2
NORMS = torch.zeros(BASE)


@dataclass
class NormConfig(RewardConfig):
    base: int = BASE

    def __post_init__(self) -> None:
        require(self.base > 1, "base must be above 1")

    def made(self) -> "Norm":
        """Its reward."""
        return Norm(self)

    def rest(self, Norm: int) -> int:
        return Norm


def log(value: float) -> float:
    return math.log(value)


def norm(value: torch.Tensor) -> float:
    return float(value.norm())


@plugin(NormConfig, example={"base": BASE})
class Norm(Reward):
    def __init__(self, config: NormConfig) -> None:
        self.n = norm(NORMS)
'''


def parts(tmp_path: Path, source: str) -> tuple[str, str]:
    file = tmp_path / "plugin.py"
    file.write_text(source)
    first, rest = split(file)
    return ast.unparse(ast.Module(first, [])), ast.unparse(ast.Module(rest, []))


def test_what_needs_a_heavy_module_comes_last_and_the_declaration_first(tmp_path: Path) -> None:
    first, rest = parts(tmp_path, PLUGIN)
    for name in ("import math", "RewardConfig", "BASE = 2", "class NormConfig", "def log"):
        assert name in first
        assert name not in rest
    for name in ("import torch", "Loss, Reward", "NORMS =", "def norm", "class Norm(Reward)"):
        assert name in rest
        assert name not in first
    assert f"{MARK} = plugin(NormConfig, example={{'base': BASE}})" in first
    assert f"@{MARK}\nclass Norm" in rest


def test_only_methods_that_use_a_name_of_the_rest_execute_it(tmp_path: Path) -> None:
    first, _ = parts(tmp_path, PLUGIN)
    assert f'"""Its reward."""\n        {COMPLETE}()\n        return Norm(self)' in first
    assert first.count(COMPLETE) == 1


@pytest.mark.parametrize(
    "line",
    [
        "for i in range(3): X = i",
        "if torch: X = 1",
        "X = 1\nX = X + 1",
        "BASE += 1",
        "torch.x = 1",
        "a, torch.x = 1, 2",
        "from math import *",
        "from __future__ import annotations\nprint(1)",
        "try:\n    import fast\nexcept ImportError:\n    fast = None",
        "print(BASE)",
        "@plugin(NormConfig)\ndef again(config: NormConfig) -> None: ...",
    ],
)
def test_a_file_that_does_more_than_bind_names_is_not_divided(tmp_path: Path, line: str) -> None:
    first, rest = parts(tmp_path, f"{PLUGIN}\n{line}\n")
    assert not first
    assert rest == ast.unparse(ast.parse(f"{PLUGIN}\n{line}\n"))


def test_a_config_that_needs_a_heavy_module_is_not_divided(tmp_path: Path) -> None:
    source = PLUGIN.replace("base: int = BASE", "base: int = len(NORMS)")
    assert parts(tmp_path, source) == ("", ast.unparse(ast.parse(source)))


def test_a_file_without_heavy_modules_has_no_rest(tmp_path: Path) -> None:
    source = "from etude.config import RewardConfig\nfor i in range(3): print(i)"
    assert parts(tmp_path, source) == (ast.unparse(ast.parse(source)), "")


def test_a_private_module_is_as_heavy_as_what_is_imported_of_it(tmp_path: Path) -> None:
    (tmp_path / "_private.py").write_text("import torch\nLIGHT = 1\nHEAVY = torch.ones(1)")
    first, rest = parts(tmp_path, "from ._private import HEAVY, LIGHT\nX = LIGHT\nY = HEAVY")
    assert first == "from ._private import LIGHT\nX = LIGHT"
    assert rest == "from ._private import HEAVY\nY = HEAVY"


@pytest.mark.parametrize("address", addresses())
def test_each_statement_of_a_plugin_is_in_one_part_in_its_order(address: str) -> None:
    first, rest = split(find(address))
    whole = [name for node in tree_of(find(address)).body for name in sorted(bindings(node))]
    for part in (first, rest):
        names = [name for node in part for name in sorted(bindings(node)) if name != MARK]
        assert names == [name for name in whole if name in names]
    names = [name for node in (*first, *rest) for name in bindings(node) if name != MARK]
    assert sorted(names) == sorted(whole)


@pytest.mark.parametrize("address", sorted({*addresses()} - IN_DATA))
def test_the_config_of_every_plugin_is_in_the_first_part(address: str) -> None:
    file = find(address)
    config = ast.unparse(valid_registration(file, address.rpartition("/")[0]).args[0])
    assert config not in heavy_names(tree_of(file), file)
