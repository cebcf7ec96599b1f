"""Flags and overrides are recognised in any order."""

import pytest

from etude.config.command_line import prepare
from etude.errors import ConfigError


def test_flags_are_moved_to_the_front_with_their_values() -> None:
    line = prepare(["seed=1", "-m", "--info", "data.path=a", "-c", "job"])
    assert line.flags == ("--multirun", "--info", "all", "--cfg", "job")
    assert line.overrides == ("seed=1", "data.path='a'")


def test_null_stays_null_and_other_keys_are_left_to_hydra() -> None:
    assert prepare(["run=null", "seed=1,2"]).overrides == ("run=null", "seed=1,2")


def test_an_unknown_flag_is_refused_with_the_closest_match() -> None:
    with pytest.raises(ConfigError, match=r"--multrun is not a flag.\n  Did you mean --multirun\?"):
        prepare(["--multrun"])
    with pytest.raises(ConfigError, match="is not a flag"):
        prepare(["--experimental-rerun", "job.pickle"])
