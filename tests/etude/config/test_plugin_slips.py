"""A slip in a plugin file is named with its line and the right name, by every verb."""

from collections.abc import Callable
from pathlib import Path

import pytest

import etude.plugins
from etude.cli.main import main
from etude.cli.verbs.new import KIT, rename_template
from etude.config.plugin_files import addresses
from etude.config.plugin_source import describe
from etude.errors import ConfigError

Write = Callable[[str, str], Path]
TEMPLATE = (KIT / "plugins/objective/sketch.py").read_text(encoding="utf-8")
MARK = TEMPLATE[TEMPLATE.index("@plugin") : TEMPLATE.index("\nclass Sketch(")]
KNOB = "gamma: float = 2.0"
SLIPS = {
    "need": ("needs=", "need=", "@plugin does not take need=.\n  Did you mean needs?"),
    "tokens": ("NEXT_TOKEN}", "NEXT_TOKENS}", "Did you mean Capability.NEXT_TOKEN?"),
    "quoted": ("{Capability.NEXT_TOKEN}", '{"NEXT_TOKEN"}', "Did you mean Capability.NEXT_TOKEN?"),
    "bare_name": ("{Capability.NEXT_TOKEN}", "{NEXT_TOKEN}", "Did you mean Capability.NEXT_TOKEN?"),
    "one_need": (
        "{Capability.NEXT_TOKEN}", "Capability.NEXT_TOKEN",
        "needs must be a set.\n  Write needs={Capability.NEXT_TOKEN}.",
    ),
    "one_kind": ("{Text}", "Text", "reads must be a set.\n  Write reads={Text}."),
    "kind": ("reads={Text}", "reads={Texts}", "reads contains Texts, which does not exist.\n  Did"),
    "no_dataclass": ("@dataclass\n", "", "NoDataclassConfig is not a dataclass.\n  Put @dataclass"),
    "frozen": ("@dataclass\n", "@dataclass(frozen=True)\n", "FrozenConfig is frozen"),
    "no_type": (KNOB, "gamma = 2.0", "gamma = 2.0 has no type, so it is not a knob.\n  Write"),
    "literal": (KNOB, f'{KNOB}\n    mode: Literal["a"] = "a"', "Write Annotated[str, ("),
    "mutable": (KNOB, f"{KNOB}\n    words: list[str] = []", "field(default_factory=lambda: [])."),
    "no_data": (', data="python_docs"', "", '@plugin has no data=.\n  Add one, such as data='),
    "no_lr": (", lr=1e-3", "", "@plugin has no lr=.\n  Add one, such as lr=1e-3."),
    "no_reads": ("reads={Text}, ", "", "@plugin has no reads=."),
    "lr_text": ("lr=1e-3", 'lr="1e-3"', "lr must be a number, got '1e-3'."),
    "data_number": ('data="python_docs"', "data=3", "data must be an option, got 3."),
    "other_base": ("Config(ObjectiveConfig)", "Config(MixerConfig)", "must derive from ObjectiveC"),
    "no_base": ("Config(ObjectiveConfig)", "Config", "must derive from ObjectiveConfig, the b"),
    "no_config": ("@plugin(SketchConfig, ", "@plugin(", "Write @plugin(NoConfigConfig, ...)"),
    "no_brackets": (MARK, "@plugin", "@plugin does not begin with the config class."),
    "called": ("@plugin(SketchConfig,", "@plugin(SketchConfig(),", "without quotes or brackets"),
    "in_quotes": ("@plugin(SketchConfig,", '@plugin("SketchConfig",', "without quotes or brackets"),
    "by_keyword": ("@plugin(SketchConfig,", "@plugin(config=SketchConfig,", "@plugin(ByKeywordC"),
    "misspelt": (
        "@plugin(SketchConfig,", "@plugin(ScetchConfig,",
        "ScetchConfig is not a class of this file; a plugin's config is.",
    ),
    "syntax": ("def count(self", "def count(self(", "is not valid Python: invalid syntax."),
    "indent": ("        return record", "      return record\n        x", "unexpected indent."),
    "face": (
        "import ObjectiveConfig", "import Objective, ObjectiveConfig",
        "etude.config has no Objective.\n  Write from etude.objective import Objective.",
    ),
    "near_name": ("import TokenRow\n", "import TokenRoww\n", "Did you mean TokenRow?"),
    "module": ("plugin, require", "plugins, require", "Did you mean plugin?"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_every_slip_is_named_with_its_line(more_plugins: Write, slip: str) -> None:
    before, after, message = SLIPS[slip]
    assert before in TEMPLATE
    file = more_plugins(
        f"objective/{slip}", rename_template(TEMPLATE.replace(before, after, 1), slip)
    )
    with pytest.raises(ConfigError) as refusal:
        describe(f"objective/{slip}")
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f"{file}:")


def test_two_plugins_in_a_file_are_both_named(more_plugins: Write) -> None:
    file = more_plugins(
        "objective/twice", TEMPLATE + f'\n{MARK}\nclass Other(Sketch):\n    """X."""\n'
    )
    with pytest.raises(ConfigError, match="a second @plugin; the first is in line 34") as refusal:
        describe("objective/twice")
    assert str(refusal.value).startswith(f"{file}:53: ")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("yields={Text}", "yields must be one record, got {Text}.\n  Did you mean Text?"),
        ("reads={Text}", "@plugin has no yields=."),
    ],
)
def test_a_data_plugin_yields_one_kind_of_record(
    more_plugins: Write, declared: str, message: str
) -> None:
    text = (KIT / "plugins/data/sketch.py").read_text(encoding="utf-8")
    more_plugins("data/kinds", text.replace("yields=Text", declared))
    with pytest.raises(ConfigError) as refusal:
        describe("data/kinds")
    assert message in str(refusal.value)


def test_the_shipped_plugins_have_no_slips() -> None:
    assert [describe(address).address for address in addresses()] == addresses()


@pytest.mark.parametrize("slip", ["need", "syntax", "face"])
def test_list_and_show_report_a_plugin_with_a_slip(
    more_plugins: Write, slip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, _ = SLIPS[slip]
    file = more_plugins(f"objective/own_{slip}", TEMPLATE.replace(before, after, 1))
    assert main(["list", "objective"]) == 0
    assert f"own_{slip}" in (listed := capsys.readouterr().out)
    assert f"! {file}:" in listed
    assert main(["show", f"objective=own_{slip}"]) == 2
    assert f"{file}:" in capsys.readouterr().err


def test_a_config_may_derive_from_one_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "objective/theirs.py"
    file.parent.mkdir()
    text = TEMPLATE.replace("Config(ObjectiveConfig)", "Config(TheirConfig)")
    file.write_text(
        text.replace("from etude import", "from theirs import TheirConfig\nfrom etude import")
    )
    monkeypatch.setattr(etude.plugins, "__path__", [*etude.plugins.__path__, str(tmp_path)])
    assert describe("objective/theirs").address == "objective/theirs"
