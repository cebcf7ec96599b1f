"""Free text is a field of type str: it reaches the config unchanged, and no comma is guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from etude.cli.main import main
from etude.cli.verbs.new import KIT
from etude.config.command_line import prepare
from etude.errors import ConfigError

SYNTAX = "'\"\\${}a=, []()\n\t中?!<>#~+"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files, two of which have a comma in their name."""
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.txt", "c.txt", "d.txt", "x", "y.txt", "x,y.txt"):
        Path(name).touch()
    return tmp_path


def sweep(override: str, *others: str) -> str:
    return prepare(["-m", override, *others]).overrides[0]


@given(st.text(alphabet=SYNTAX) | st.text())
@example("你好")
@example("What's 2+2?")
@example("The [MASK] was")
@example("<think>")
@example("Hello, world")
@example("my book (1).txt")
@example(r"a\,b")
@example('"quoted"')
@settings(max_examples=300, deadline=None)
def test_free_text_survives_hydras_override_grammar(text: str) -> None:
    if text == "null":
        return
    (line,) = prepare([f"prompt={text}"]).overrides
    (override,) = OverridesParser.create().parse_overrides([line])
    config = OmegaConf.create({"prompt": None})
    OmegaConf.update(config, "prompt", override.value())
    assert config.prompt == text


@pytest.mark.parametrize(
    "key",
    [
        "run", "init_from", "prompt", "system", "user", "out", "opening_prompt",
        "trainer.keep_best", "data.path", "objective.run",
        "judge.question", "judge.url", "reward.regex.pattern", "reward.http.url", "logger.csv.file",
        "logger.wandb.project", "callback.early_stopping.metric", "tokenizer.path",
    ],
)  # fmt: skip
def test_a_field_of_type_str_is_free_text_whatever_its_name(key: str) -> None:
    assert prepare([f"{key}=a b, [c]"]).overrides == (f"{key}='a b, [c]'",)
    with pytest.raises(ConfigError, match="this is one value with a comma, or 2 values"):
        sweep(f"{key}=p,q")
    assert sweep(f'{key}="p,q"') == f"{key}='p,q'"
    assert sweep(f'{key}="p","q"') == f"{key}='p','q'"
    assert sweep(rf"{key}=p\,q") == f"{key}='p,q'"
    assert sweep(f"{key}=choice(p,q)") == f"{key}=choice(p,q)"
    assert sweep(f'{key}=null,"q"') == f"{key}=null,'q'"


@pytest.mark.parametrize(
    "override",
    [
        "objective.stop=[a,b]", "adapter.lora.targets=[a,b],[c]", "trainer.precision=32,bf16-mixed",
        "seed=1,2", "optimizer.lr=1,2", "as_turn=auto,true", "data.document=line,blocks",
        "trainer.best=lowest,highest", "hydra.sweeper.direction=x,y", "objective=clm,mlm",
        "nothing.of.this=a,b",
    ],
)  # fmt: skip
def test_values_of_other_types_are_left_to_hydra(override: str) -> None:
    assert prepare([override]).overrides == prepare(["-m", override]).overrides == (override,)


def test_the_type_is_that_of_the_chosen_plugin(
    more_plugins: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (KIT / "plugins/objective/sketch.py").read_text(encoding="utf-8")
    for name, kind in (("one_pattern", "str"), ("all_patterns", "list[str]")):
        more_plugins(
            f"objective/{name}", text.replace("gamma: float = 2.0", f"pattern: {kind} = ''")
        )
    assert sweep(r"objective.pattern=a\,b", "objective=one_pattern") == "objective.pattern='a,b'"
    listed = "objective.pattern=[a,b],[c]"
    assert sweep(listed, "objective=all_patterns") == listed
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "conf/experiment/mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("defaults:\n  - override /objective: one_pattern\n", encoding="utf-8")
    assert sweep("objective.pattern=[a]", "experiment=mine") == "objective.pattern='[a]'"


@pytest.mark.parametrize("callback", ["watch", "other"])
def test_the_text_of_a_callback_of_the_users_own_is_free(
    more_plugins: Callable[[str, str], Path], callback: str
) -> None:
    text = (KIT / "plugins/callback/sketch.py").read_text(encoding="utf-8")
    knob = text[text.index("Config(CallbackConfig):\n") :].splitlines()[1]
    more_plugins(f"callback/{callback}", text.replace(knob, f'    question: str = "a"\n{knob}'))
    with pytest.raises(ConfigError, match="one value with a comma"):
        sweep(f"callback.{callback}.question=x,y")
    assert sweep(f'callback.{callback}.question="x,y"').endswith("='x,y'")


@pytest.mark.parametrize(
    ("value", "overrides"),
    [
        ("a,b.txt", "'a,b.txt'"),  # the one file of this name
        ("a,*.txt", "'a,*.txt'"),
        ("c.txt,d.txt", "'c.txt','d.txt'"),  # files, and no file with both names
        ("null,d.txt", "null,'d.txt'"),
        (r"a\,b.txt", "'a,b.txt'"),
        (r"a\,b.txt,zz", "'a,b.txt','zz'"),
        ('"c.txt,d.txt"', "'c.txt,d.txt'"),
        ("'x,y',z", "'x,y','z'"),
        ("it's", r"'it\'s'"),
        ("choice(c.txt,d.txt)", "choice(c.txt,d.txt)"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_files_quotes_and_backslashes_decide_what_a_comma_means(value: str, overrides: str) -> None:
    assert sweep(f"data.path={value}") == f"data.path={overrides}"


@pytest.mark.parametrize("value", ["x,y.txt", "p,q", "x,", "c.txt,q", "Hello, world"])
@pytest.mark.usefixtures("folder")
def test_an_ambiguous_comma_is_refused_with_both_spellings(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", f"data.path={value}"]) == 2
    shown = capsys.readouterr().err
    each = ",".join(f'"{part}"' for part in value.split(","))
    for spelling in (f'data.path="{value}"', f"data.path={each}"):
        assert f"'{spelling}'" in shown
        assert sweep(spelling)


@pytest.mark.parametrize("value", [r"a\,b.txt", '"a,b.txt"', "'a,b.txt'", "a,b.txt"])
@pytest.mark.usefixtures("folder")
def test_a_path_is_spelt_the_same_with_and_without_a_sweep(value: str) -> None:
    assert prepare([f"data.path={value}"]).overrides == ("data.path='a,b.txt'",)
    assert sweep(f"data.path={value}") == "data.path='a,b.txt'"
