"""A saved config loads as an equal config, without Hydra; errors name the full key."""

import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from toys import CHOICES, write_plugin

import etude.plugins
from etude.config.composition import compose
from etude.config.config_file import load_config, nodes, save_config, to_experiment
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import NonFinite
from etude.errors import CheckpointError, ConfigError
from etude.files.run_folder import CONFIG
from etude.files.seal import write_sealed

pytestmark = pytest.mark.usefixtures("toys")


def experiment(*overrides: str) -> ExperimentConfig:
    return to_experiment(compose("train", [*CHOICES, *overrides]).config)


@cache
def default() -> ExperimentConfig:
    return experiment()


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer.betas=[0.9,1e-8]", "optimizer.lr=3e-7"),
        ("objective=toy_denoise", "objective/corruption=toy_drop"),
        ("objective=toy_reinforce", "reward=[toy_length,toy_words]", "trainer.non_finite=skip"),
        ("seed=3", "run='数据/a b'", "trainer.clip=null", "logger=[]"),
    ],
)
def test_a_saved_config_loads_as_an_equal_config(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    config = experiment(*overrides)
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


@given(text=st.text(), number=st.floats(min_value=1e-300, max_value=3e38))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_and_any_number_survive_saving_and_loading(
    text: str, number: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = deepcopy(default())
    config.init_from = None if text in ("", "???") else text
    config.optimizer.lr = number
    folder = tmp_path_factory.mktemp("saved")
    save_config(config, folder)
    assert load_config(folder) == config


@pytest.mark.parametrize("text", ["${a}", r"\${a}", r"\\${b} \${", "a\\", "${oc.env:HOME}", "null"])
def test_text_that_looks_like_an_interpolation_stays_text(text: str, tmp_path: Path) -> None:
    config = experiment()
    config.init_from = text
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


def test_enums_are_loaded_as_enums(tmp_path: Path) -> None:
    save_config(experiment("trainer.non_finite=skip"), tmp_path)
    assert load_config(tmp_path).trainer.non_finite is NonFinite.skip


def test_the_file_lists_every_plugin_by_path_with_address_and_digest(tmp_path: Path) -> None:
    config = experiment()
    stored = OmegaConf.load(save_config(config, tmp_path))
    assert list(stored.plugins) == [path for path, _ in nodes(config)]
    assert stored.plugins["architecture.mlp"].address == "architecture/mlp/toy_swiglu"
    assert len(stored.plugins["architecture.mlp"].sha256) == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.beta=-1", "objective.beta must be positive, got -1.0"),
        ("objective.beta=nan", "objective.beta must be a finite number, got nan."),
        ("objective.beta=1e39", "objective.beta must be a finite number, got 1e+39."),
        ("seed=9223372036854775808", "seed must be a number below 2**63"),
        ("run='https://u:pa55@host/x'", "run contains a secret: https://***@host/x"),
        ("~seed", "seed has no value and no default."),
        ("optimizer.betas=[1,inf]", "optimizer.betas[1] must be a finite number, got inf."),
        ("objective.beta=much", "objective.beta must be a number, got much."),
        ("+objective.betta=1", "Did you mean objective.beta?"),
        ("++trainer.max_step=1", "Did you mean trainer.max_steps?"),
        ("+sead=1", "sead does not exist."),
        ("trainer.non_finite=maybe", "expected one of [stop, skip]"),
        ("seed=null", "seed cannot be null."),
        ("architecture.n_heads=3", "architecture.dim must be a multiple of n_heads"),
    ],
)
def test_an_invalid_value_is_refused_with_its_full_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        experiment("objective=toy_prefer", override)
    assert message in str(refusal.value)


def test_an_unknown_key_in_a_typed_config_is_refused() -> None:
    config = compose("train", [*CHOICES, "objective=toy_prefer"]).config
    OmegaConf.update(config, "objective.betta", 3, force_add=True)
    with pytest.raises(ConfigError, match=r"objective.betta does not exist.\n.*objective.beta\?"):
        to_experiment(config)


def test_a_changed_plugin_is_warned_about_and_a_missing_plugin_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / "plugins_of_mine"
    file = write_plugin(plugins, "tokenizer/toy_passing", "TokenizerConfig", "", "")
    monkeypatch.setenv(etude.plugins.VARIABLE, str(plugins))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    config = experiment("tokenizer=toy_passing")
    save_config(config, tmp_path)
    file.write_text(file.read_text() + "# changed\n")
    with pytest.warns(UserWarning, match=r"plugins have changed since .*toy_passing"):
        assert load_config(tmp_path) == config
    shutil.rmtree(plugins)
    with pytest.raises(ConfigError, match="needs the plugin tokenizer/toy_passing for tokenizer"):
        load_config(tmp_path)


def test_a_folder_with_a_missing_or_damaged_config_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run folder"):
        load_config(tmp_path)
    (tmp_path / CONFIG).write_text("plugins: {}\nvalues: {}\n")
    with pytest.raises(CheckpointError, match=r"has lost its seal\.json"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "plugins: {a: [",
        "- 1\n",
        "7\n",
        "plugins: {}\n",
        "plugins: [1]\nvalues: {}\n",
        "plugins: {a: 1}\nvalues: {}\n",
        "plugins: {a: {address: [1], sha256: 2}}\nvalues: {}\n",
        "plugins: {}\nvalues: [1, 2]\n",
        "plugins: {}\nvalues: {trainer: 3}\n",
        "plugins: {}\nvalues: " + "[" * 5000,
    ],
    ids=range(10),
)
def test_a_malformed_config_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    write_sealed(tmp_path / CONFIG, text)
    with pytest.raises((CheckpointError, ConfigError), match=r"config\.yaml") as refusal:
        load_config(tmp_path)
    assert len(str(refusal.value)) < 1500


def test_an_edited_config_is_refused(tmp_path: Path) -> None:
    file = save_config(experiment("objective=toy_prefer"), tmp_path)
    file.write_text(file.read_text().replace("max_steps: null", "max_steps: 3"))
    with pytest.raises(CheckpointError, match=r"config\.yaml has changed since it was written"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "value", ["${oc.env:TOKEN}", "a/${oc.env:TOKEN,none}", "${oc.decode:${oc.env:TOKEN}}"]
)
def test_a_value_that_reads_the_environment_is_refused_and_not_printed(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a_secret")
    with pytest.raises(ConfigError, match="init_from reads an environment variable") as refusal:
        experiment(f"init_from='{value}'")
    assert "a_secret" not in str(refusal.value)
