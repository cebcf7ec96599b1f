"""Defaults and legal values are shown as typed on the command line, however they are written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from etude.cli.pages.knobs import default_of, entry, legal, members, short_value
from etude.config.plugin_files import addresses
from etude.config.plugin_source import describe

Write = Callable[[str, str], Path]
PLUGIN = '''"""Splits at spaces."""
from dataclasses import dataclass, field
from enum import Enum
from etude import only_with, plugin
from etude.config import DataConfig
from etude.config.schema.trainer import NonFinite as OnNan
from ._toy_shared import *
from ._toy_shared import LONG as TEXT

SHORT = "a b"

class Scale(Enum):
    """Of what."""
    group = 1
    batch = 2

    def size(self): ...

@dataclass
class Config(DataConfig):
    scale: Scale = Scale.group
    """What it is divided by."""
    nan: OnNan | None = None
    side: Side = only_with("scale=batch", Side.left)
    several: list[Side] = field(default_factory=lambda: [Side.left, Side.right])
    share: bool = True
    eps: float = 1e-05
    ratio: float = 8 / 3
    lowest: float = -1.0
    short: str = SHORT
    text: str = TEXT
    empty: str = ""
    table: dict[str, int] = field(default_factory=dict[str, int])
    must: str = MISSING

@plugin(Config, yields=Text)
def make(config): ...
'''
SHARED = f'''from enum import Enum

LONG = "{"word " * 20}"

class Side(Enum):
    left = "left"
    right = "right"
'''
LINES = {
    "scale": "scale = group  (group, batch)\n    What it is divided by.",
    "nan": "nan = null  (stop, skip, null)",
    "side": "side = left  (left, right; only with scale=batch)",
    "several": "several = [left,right]  (list of left, right)",
    "share": "share = true  (true, false)",
    "eps": "eps = 1e-5  (float)",
    "ratio": "ratio = 2.66667  (float)",
    "lowest": "lowest = -1  (float)",
    "short": "short = a b  (str)",
    "empty": 'empty = ""  (str)',
    "table": "table = {}  (dict of int)",
    "must": "must  (str; no default)",
}


def test_a_knob_is_shown_as_typed_on_the_command_line(more_plugins: Write) -> None:
    file = more_plugins("data/toy_read", PLUGIN)
    (file.parent / "_toy_shared.py").write_text(SHARED, encoding="utf-8")
    knobs = {knob.name: knob for knob in describe("data/toy_read").knobs}
    for name, line in LINES.items():
        assert entry(name, knobs[name]) == line
    assert entry("text", knobs["text"]).startswith("text = word word ")
    assert entry("text", knobs["text"]).endswith("...  (str)")
    assert entry("scale", knobs["scale"], "batch").startswith(
        "scale = batch  (group, batch; default group)"
    )
    assert members("Config", file) == []


def test_no_knob_of_a_shipped_plugin_shows_python_syntax() -> None:
    for address in addresses():
        for knob in describe(address).knobs:
            shown = f"{default_of(knob) or ''} {'' if knob.group else legal(knob)}"
            for word in ("None", "True", "False", "option(", "field(", "Config"):
                assert word not in shown, f"{address}: {knob.name}"
            assert knob.group or not any(word[:1].isupper() for word in legal(knob).split()), shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (1.5e-10, "1.5e-10"), ({"a": [1.0]}, "{a:[1]}"), ("1.0", "1.0")],
)
def test_a_value_is_formatted_as_typed(value: object, text: str) -> None:
    assert short_value(value) == text
