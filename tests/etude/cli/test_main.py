"""The command is fast, prints errors on one screen, and leaves no files after an error."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from rooms import ROOT
from toys import CHOICES

from etude.cli.main import main
from etude.config.composition import check_names
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import DataError, PreemptedError

QUICK = """
import contextlib, io, json, sys, time
from etude.cli.main import main
took = {}
for line in json.loads(sys.argv[1]):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(line.split())
    took[line] = (time.perf_counter() - start, code, "torch" in sys.modules)
print(json.dumps(took))
"""


class Worker(ModuleType):
    """Replaces `etude.training.run.start` and records its arguments."""

    def __init__(self) -> None:
        super().__init__("etude.training.run")
        self.started: list[tuple[ExperimentConfig, str, list[str]]] = []

    def start(self, config: ExperimentConfig, experiment: str, overrides: list[str]) -> Path:
        self.started.append((config, experiment, overrides))
        if config.seed == 13:
            raise DataError("nothing to train on")
        if config.seed == 15:
            raise PreemptedError("saved")
        return Path(config.run or "outputs/one")


@pytest.fixture
def worker(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """An empty working directory, the toys, and a worker that trains nothing."""
    stand_in = Worker()
    monkeypatch.setattr("etude.training.run.start", stand_in.start)
    for part in ("conf", "plugins"):
        (tmp_path / part).symlink_to(toys / part)
    monkeypatch.chdir(tmp_path)
    yield stand_in
    if not stand_in.started:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "plugins"]


def train(*arguments: str) -> int:
    return main(["train", *CHOICES, *arguments])


def test_help_pages_and_config_errors_take_less_than_a_second_and_do_not_import_torch() -> None:
    lines = [
        "--help", "--version", "train --help", "list", "list objective", "show objective=dpo",
        "label --help", "pipeline --help", "show trainer", "show data", "show dpo", "show dppo",
        "trian", "train objective=dpoo", "train --cfg job objective=dpoo", "-sc install=bash",
        "train --cfg job", "train optimizer.lr=abc", "train optimizer.lr=-1",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", QUICK, json.dumps(lines)], capture_output=True, check=True
    )
    for line, (seconds, _, torch) in json.loads(done.stdout).items():
        assert not torch, line
        assert seconds < 1, line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective=toy_prefre", "Did you mean objective=toy_prefer?"),
        ("objective.betta=1", "Did you mean objective.beta?"),
        ("objective.target=1", "objective.target does not exist."),
        ("reward.toy_words.weight=3", "Choose it: reward=[toy_words]"),
        ("lr=3", "Here: optimizer.lr."),
        ("optimiser=toy_fast", "Did you mean optimizer?"),
        ("archtecture/mlp=toy_gelu", "Did you mean architecture/mlp=toy_gelu?"),
        ("modle=toy_famous", "Did you mean architecture=toy_famous?"),
        ("objective/corruption=toy_span", "objective=toy_denoise"),
        ("architecture.mlp=toy_gelu", "choose it with slashes: architecture/mlp="),
        ("objective=null", "objective=null does not choose an option."),
        ("logger=null", "To choose none: logger=[]."),
        ("objective=[toy_next,toy_both]", "objective takes one plugin, not a list."),
        ("experiment=toy_recip", "Did you mean experiment=toy_recipe?"),
        ("seed=1,2", "To run a sweep over them, add -m"),
        ("seed=[1", "seed=[1 cannot be parsed."),
        ("+trainer.max_stepz=1", "Did you mean trainer.max_steps?"),
        ("trainer.max_steps=0", "trainer.max_steps must be positive, got 0"),
        ("hydra.run.dir=x", "would have no effect"),
        ("architecture=toy_mirror", "cannot train architecture=toy_mirror"),
        ("--foo", "--foo is not a flag."),
    ],
)
def test_an_error_is_one_page_on_stderr_that_says_what_would_work(
    override: str, message: str, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("objective=toy_prefer", override) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert not out
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 25
    assert not worker.started


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("objective:\n  betta: 3\n", "objective.betta does not exist."),
        ("objective:\n  _target_: os.system\n", "objective._target_ does not exist."),
        ("trainer:\n  max_steps: lots\n", "trainer.max_steps must be a whole number, got lots."),
        ("trainer:\n  max_steps: ${seeds}\n", "Interpolation key 'seeds' not found"),
        ("trainer: {: 3\n", "toy_wrong.yaml:2 is not valid YAML"),
        ("defaults:\n  - override /objective: clmm\n", "Did you mean objective=clm?"),
    ],
)
def test_an_error_in_a_recipe_is_refused_like_one_on_the_command_line(
    recipe: str, message: str, worker: Worker, toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = toys / "conf/experiment/toy_wrong.yaml"
    file.write_text(f"# @package _global_\n{recipe}")
    choices = [choice for choice in CHOICES if "clmm" not in recipe or "objective" not in choice]
    try:
        assert main(["train", *choices, "experiment=toy_wrong"]) == 2
    finally:
        file.unlink()
    err = capsys.readouterr().err
    assert message in err
    assert not worker.started


def test_a_key_of_another_plugin_is_refused_with_the_plugin_that_has_it(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("objective.beta=1") == 2
    assert "objective=toy_prefer" in capsys.readouterr().err
    assert not worker.started


def test_the_last_line_of_stdout_is_the_run_folder(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("run=runs/my book (1)", "experiment=toy_recipe") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs/my book (1)"
    ((config, experiment, overrides),) = worker.started
    assert config.trainer.max_steps == 7
    assert experiment == "toy_recipe"
    assert "run='runs/my book (1)'" in overrides


def test_the_folder_of_a_sweeps_job_is_its_number(worker: Worker, tmp_path: Path) -> None:
    assert train("-m", "seed=1,2", "run=many") == 0
    sweep = tmp_path / "many"
    assert [config.run for config, *_ in worker.started] == [f"{sweep}/0", f"{sweep}/1"]


def test_a_failed_job_does_not_stop_the_others_and_is_reported(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("-m", "seed=1,13,2") == DataError.exit_code
    assert [config.seed for config, *_ in worker.started] == [1, 13, 2]
    err = capsys.readouterr().err
    assert "job 1: nothing to train on" in err
    assert "failed jobs: 1" in err


def test_a_preempted_sweep_starts_no_further_job_and_writes_the_leaderboard(
    worker: Worker, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as end:
        train("-m", "seed=1,15,2", "run=many")
    assert end.value.code == PreemptedError.exit_code
    assert len(worker.started) == 2
    board = json.loads((tmp_path / "many" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {row["job"]: row["state"] for row in board["rows"]} == {0: "finished", 1: "started"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective=toy_next,toy_nxt", "Did you mean objective=toy_next?"),
        ("objective=toy_next seed=1,x", "seed must be a whole number, got x."),
        ("objective=toy_next,toy_both", "job 1 (objective=toy_both): objective=toy_both cannot"),
        ("hydra.sweep.dir=x", "would have no effect"),
    ],
)
def test_a_sweep_with_an_invalid_job_is_refused_before_the_first_job(
    override: str, message: str, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = [choice for choice in CHOICES if not choice.startswith("objective")]
    assert main(["train", "-m", *choices, *override.split()]) == 2
    assert message in capsys.readouterr().err
    assert not worker.started


@pytest.mark.usefixtures("toys")
def test_cfg_job_prints_the_defaults_of_the_objective(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--cfg", "job", "objective=toy_prefer", "data.path=数据/文 本.txt") == 0
    shown = capsys.readouterr().out
    assert "lr: 5.0e-07" in shown
    assert "path: 数据/文 本.txt" in shown


@pytest.mark.usefixtures("toys")
def test_show_prints_knobs_defaults_and_declarations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show", "objective=toy_prefer", "architecture=toy_famous"]) == 0
    page = capsys.readouterr().out
    assert "objective.beta = 0.1  (float)\n    Pull towards the reference." in page
    assert "reads: Preference" in page
    assert ", toy_stack (toy_famous)\n" in page
    assert "architecture.mlp.ratio = 3  (float; default 2.67)" in page


@pytest.mark.usefixtures("toys")
def test_completion_completes_verbs_groups_options_and_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed, expected in [
        ("etude tr", "train"),
        ("etude train reward=toy_w", "reward=toy_words"),
        (f"etude train {' '.join(CHOICES)} objective=toy_prefer objective.b", "objective.beta="),
    ]:
        monkeypatch.setenv("COMP_LINE", typed)
        assert main(["-sc", "query=bash"]) == 0
        assert capsys.readouterr().out.split() == [expected]


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_verb_refuses_hydra_settings_that_have_no_effect(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([file.stem.replace("_", "-"), "hydra.run.dir=x"]) == 2
    assert "hydra.run.dir=x would have no effect" in capsys.readouterr().err


CONFIGURED = sorted(file.stem.replace("_", "-") for file in (ROOT / "conf").glob("*.yaml"))


@pytest.mark.parametrize("verb", CONFIGURED)
def test_the_help_of_a_verb_lists_every_key_and_group_that_it_takes(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    root = check_names(verb.replace("-", "_"), []).config
    for key in root:
        shown = root[key] if key == "trainer" else {"": None}
        for name in shown:
            path = f"{key}.{name}" if name else str(key)
            known = (f"{path} = ", f"{path}  (", f"  {path}=")
            assert any(line.startswith(known) for line in lines), path


@pytest.mark.parametrize("verb", ["list", "show", "new"])
def test_the_help_of_a_verb_without_a_config_is_its_docstring(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    assert "Keys of" not in capsys.readouterr().out


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("toy_prefer", "toy_prefer is objective=toy_prefer."),
        ("trainer", "trainer.non_finite = stop  (stop, skip)"),
        ("seed", "seed = 0  (int)"),
        ("max_steps", "trainer.max_steps = null  (int, null)"),
        ("run", "run is also an option: judge=run."),
        (
            "architecture/mlp",
            "architecture/mlp=swiglu is the default of architecture=llama. Its keys:",
        ),
        ("mlp", "mlp is the group architecture/mlp."),
        ("strategy", "strategy=single is the default of etude train. It has no keys."),
        ("judge", "judge=rule is the default of etude label. Its keys:"),
        ("experiment=toy_recipe", "# Prefers the better one."),
        ("reward.toy_length.target", "reward.toy_length.target = 10  (int)"),
    ],
)
def test_show_finds_groups_nodes_keys_and_plain_names(
    argument: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", argument]) == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("toy", "Choose one: decoding=toy, generator=toy, logger=toy,"),
        ("toy_perfer", "Did you mean toy_prefer?"),
        ("tranier", "Did you mean trainer?"),
        ("objectiv=toy_prefer", "Did you mean objective?"),
        ("objective=toy_perfer", "objective=toy_perfer does not exist."),
    ],
)
def test_show_suggests_the_closest_match(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", argument]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train objective.lrr=3", "objective=clm (the default) has: "),
        ("train objective=dpo objective.lrr=3", "objective=dpo has: "),
        ("train experiment=dpo objective.lrr=3", "objective=dpo has: "),
        ("train architecture.mlp.width=3", "architecture/mlp=swiglu (the default) has: "),
        ("train data.size=3", "data=python_docs (the default) has: "),
        ("train reward=[length] reward.length.size=3", "reward=length has: "),
        ("train adapter.size=3", "No adapter is chosen. Its options: "),
        ("train trainer.steps=3", "trainer has: "),
        ("train sead=3", "etude train takes: objective, "),
        ("best-of sead=3", "etude best-of takes: as_turn, run, "),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_keys_and_their_owner(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "logger.wandb.project=https://u:pa55@host/x"],
        ["train", "-m", "seed=0,1", "run=https://u:pa55@host/x"],
        ["train", "--cfg", "job", "data.path=https://u:pa55@host/x"],
        ["generate", "prompt=https://u:pa55@host/x"],
        ["reproduce", "https://u:pa55@host/x"],
        ["nothing", "https://u:pa55@host/x"],
    ],
)
def test_a_secret_is_refused_by_every_verb_and_never_shown(
    arguments: list[str], worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "pa55" not in "".join(capsys.readouterr())
    assert not worker.started


def test_a_full_disk_has_its_own_exit_code_wherever_it_happens(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("etude.training.run.start", full)
    assert train("objective=toy_prefer") == 6
    error = capsys.readouterr().err
    assert "No space left while writing somewhere" in error
    assert "Traceback" not in error
