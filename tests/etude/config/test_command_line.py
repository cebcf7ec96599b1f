"""Free text from the shell reaches the config unchanged."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from etude.config.command_line import prepare
from etude.errors import ConfigError

SYNTAX = "'\"\\${}a=, []()\n\t中?!<>#~+"


@given(st.text(alphabet=SYNTAX) | st.text())
@example("你好")
@example("What's 2+2?")
@example("The [MASK] was")
@example("<think>")
@example("Hello, world")
@example("my book (1).txt")
@settings(max_examples=300, deadline=None)
def test_free_text_survives_hydras_override_grammar(text: str) -> None:
    if text == "null":
        return
    (line,) = prepare([f"prompt={text}"]).overrides
    (override,) = OverridesParser.create().parse_overrides([line])
    config = OmegaConf.create({"prompt": None})
    OmegaConf.update(config, "prompt", override.value())
    assert config.prompt == text


def test_flags_are_moved_to_the_front_with_their_values() -> None:
    line = prepare(["seed=1", "-m", "--info", "data.path=a", "-c", "job"])
    assert line.flags == ("--multirun", "--info", "all", "--cfg", "job")
    assert line.overrides == ("seed=1", "data.path='a'")


def test_commas_separate_values_only_in_a_sweep_and_never_in_a_prompt() -> None:
    assert prepare(["data.path=a b,c"]).overrides == ("data.path='a b,c'",)
    assert prepare(["-m", "data.path=a b,c"]).overrides == ("data.path='a b','c'",)
    assert prepare(["-m", "prompt=a,b", "run=a,b"]).overrides == ("prompt='a,b'", "run='a,b'")


@pytest.mark.parametrize(
    ("value", "overrides"),
    [
        ("a,b.txt", "'a,b.txt'"),  # the one file of this name
        ("a,*.txt", "'a,*.txt'"),
        ("c.txt,d.txt", "'c.txt','d.txt'"),
        ('"c.txt,d.txt"', "'c.txt,d.txt'"),
        ("'x,y',z", "'x,y','z'"),
        ('"x,y","z"', "'x,y','z'"),
        ("it's,b's", r"'it\'s','b\'s'"),
        ("x,y", "'x','y'"),
        ("x,", "'x',''"),
    ],
)
def test_a_comma_in_quotes_or_in_the_name_of_a_file_does_not_separate_values(
    value: str, overrides: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.txt", "c.txt", "d.txt"):
        Path(name).touch()
    assert prepare(["-m", f"data.path={value}"]).overrides == (f"data.path={overrides}",)


def test_an_ambiguous_comma_is_refused_with_both_spellings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b.txt", "a,b.txt"):
        Path(name).touch()
    with pytest.raises(ConfigError, match="both this name and each of its parts are files") as both:
        prepare(["-m", "data.path=a,b.txt"])
    for spelling in ('data.path="a,b.txt"', 'data.path="a","b.txt"'):
        assert f"'{spelling}'" in str(both.value)
    assert prepare(["-m", 'data.path="a,b.txt"']).overrides == ("data.path='a,b.txt'",)
    assert prepare(["-m", 'data.path="a","b.txt"']).overrides == ("data.path='a','b.txt'",)


def test_null_stays_null_and_other_keys_are_left_to_hydra() -> None:
    assert prepare(["run=null", "seed=1,2"]).overrides == ("run=null", "seed=1,2")


def test_an_unknown_flag_is_refused_with_the_closest_match() -> None:
    with pytest.raises(ConfigError, match=r"--multrun is not a flag.\n  Did you mean --multirun\?"):
        prepare(["--multrun"])
    with pytest.raises(ConfigError, match="is not a flag"):
        prepare(["--experimental-rerun", "job.pickle"])
