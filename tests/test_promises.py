"""Invalid configs, data, plugins and sweeps are handled well, tested through the command."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from defaults import default

import etude.plugins
from etude.cli.main import main
from etude.config.registry import build
from etude.errors import PAGE, ConfigError, DataError

SMALL = (
    "data=text", "data.path=good.txt", "tokenizer=byte", "architecture.dim=16",
    "architecture.n_layers=1", "architecture.n_heads=2", "data.seq_len=32",
    "trainer.global_batch=4", "trainer.max_steps=2", "trainer.val_samples=4", "logger=[]",
    "trainer.accelerator=cpu",
)  # fmt: skip
CONFIG, DATA = ConfigError.exit_code, DataError.exit_code
ENGLISH = "\n\n".join(f"The quick brown fox {i} jumps over the lazy dog. " * 5 for i in range(99))
CHINESE = "\n\n".join(f"今天天气很好，我们去公园散步第{i}次。" * 5 for i in range(99))
FILES = {
    "good.txt": ENGLISH.encode(),
    "my book (1).txt": ENGLISH.encode(),
    "数据/文本.txt": CHINESE.encode(),
    "empty.txt": b"",
    "blank.txt": b"\n \n\n",
    "binary.txt": bytes(range(256)) * 99,
    "latin.txt": "caf\xe9 cr\xe8me \xe0 la carte\n".encode("latin-1") * 99,
    "one_bad_line.txt": ENGLISH.encode() + b"\n\n\xff\xfe bad\n\n" + ENGLISH.upper().encode(),
    "a_file": b"x",
}


class Command:
    """Runs `etude` in a folder of sample files and checks what it writes there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main([*arguments])
        out, err = self.capsys.readouterr()
        return code, out, err

    def train(self, *arguments: str) -> tuple[int, str, str]:
        return self("train", *SMALL, *arguments)

    def refused(self, code: int, *arguments: str, late: bool = False) -> str:
        """The message of a refused command, which writes nothing; `late` = after preparing data."""
        before = sorted(self.folder.rglob("*"))
        exit_code, out, err = self.train(*arguments)
        assert exit_code == code, err
        assert "Traceback" not in err
        assert 0 < len(err.splitlines()) <= PAGE
        assert sorted(self.folder.rglob("*")) == before
        assert code != CONFIG or not out or late
        return err

    def trained(self, *arguments: str) -> Path:
        """The folder of a run that succeeds."""
        code, out, err = self.train(*arguments)
        assert code == 0, err
        return Path(out.splitlines()[-1])


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@pytest.fixture
def plugins(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a plugin to `./plugins`, where a new process would find it."""

    def write(address: str, text: str) -> Path:
        file = command.folder / "plugins" / f"{address}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
        return file

    return write


def steps(folder: Path) -> list[dict[str, Any]]:
    """The step record of a run, without times."""
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


WRONG_NAMES = [
    ("objectiv=clm", "Did you mean objective=clm?"),
    ("objective=dpoo", "Did you mean objective=dpo?"),
    ("architecture=lama", "architecture=lama does not exist."),
    ("architecture/mlp=gleu", "Did you mean architecture/mlp=gelu?"),
    ("optimizer.lrr=1", "Did you mean optimizer.lr?"),
    ("trainer.max_step=1", "Did you mean trainer.max_steps?"),
    ("+unknown=1", "unknown does not exist."),
    ("+objective.foo=1", "objective.foo does not exist."),
    ("++optimizer.lrr=2", "Did you mean optimizer.lr?"),
    ("logger=[wandbb]", "Did you mean logger=wandb?"),
    ("experiment=nothing", "experiment=nothing does not exist."),
    ("objective=null", "objective=null does not choose an option."),
    ("callback=null", "To choose none: callback=[]."),
    ("~objective", "every experiment needs one objective"),
    ("~architecture/mlp", "Set architecture/mlp=..."),
    ("tokenizer=[bpe,byte]", "tokenizer takes one plugin, not a list."),
]
WRONG_VALUES = [
    ("optimizer.lr=abc", "optimizer.lr must be a number, got abc."),
    ("optimizer.lr=-1", "optimizer.lr must be positive, got -1.0"),
    ("optimizer.lr=nan", "optimizer.lr must be a finite number, got nan."),
    ("optimizer.lr=inf", "optimizer.lr must be a finite number, got inf."),
    ("optimizer.lr=true", "optimizer.lr must be a number, got True."),
    ("optimizer.lr=1e-3,1e-4", "To run a sweep over them, add -m"),
    ("trainer.max_steps=0", "trainer.max_steps must be positive, got 0"),
    ("trainer.max_steps=1.5", "trainer.max_steps must be a whole number, got 1.5."),
    ("trainer.compile=3", "trainer.compile must be true or false, got 3."),
    ("data.pack=yes", "data.pack must be true or false, got yes."),
    ("trainer.precision=33", "trainer.precision must be one of 32, 64"),
    ("trainer.accelerator=tpu", "trainer.accelerator must be one of auto, cpu"),
    ("trainer.non_finite=maybe", "expected one of [stop, skip]"),
    ("trainer.micro_batch=3", "global_batch=4, devices=1, micro_batch=3"),
    ("trainer.devices=0", "trainer.devices must be positive, got 0"),
    ("trainer.devices=2", "strategy=single supports 1 device, but trainer.devices=2."),
    ("seed=-1", "seed must be 0 to 2**63 - 1, got -1"),
    ("seed=99999999999999999999", "seed must be a number below 2**63"),
    ("architecture.n_heads=3", "architecture.dim must be a multiple of n_heads"),
    ("architecture.dropout=1", "architecture.dropout must be in [0, 1), got 1.0"),
    ("architecture.dim=10", "rope needs an even head_dim"),
    ("architecture.mixer.queries_per_kv=3", "queries_per_kv must divide n_heads=2, got 3"),
    ("data.val_fraction=0", "data.val_fraction must lie strictly between 0 and 1"),
    ("data.seq_len=1", "data.seq_len must be 2 to 16,777,216, got 1"),
    ("data.document=pages", "expected one of [blocks, line, file]"),
    ("data.path=", "data.path is empty: give a file"),
    ("run=", "run must be a folder, got an empty string"),
    ("run=a_file", "a_file is not writable"),
    ("run=a_file/below", "a_file is not writable"),
    ("run=/proc/a_run", "/proc is not writable"),
    ("run=.", "is not empty and contains no run."),
    ("init_from=nowhere", "init_from=nowhere cannot be loaded"),
    ("optimizer.lr=${nothing}", "optimizer.lr"),
]
MISFITS = [
    ("objective=mlm", "Architectures that provide it: encoder_only (albert, bert, modernbert,"),
    ("architecture=bert", "objective=clm cannot train architecture=bert."),
    ("objective=sop architecture=encoder_only", "Set architecture.n_segments=2"),
    ("objective=distill", "objective.run has no value and no default."),
    ("objective=distill objective.run=a_file", "objective.run=a_file cannot be used"),
    ("objective=dpo", "Compatible data: docs_preferences, data/record=preference."),
    ("reward=exact_answer", "reward=[exact_answer] has no effect"),
    ("tokenizer=bpe tokenizer.vocab_size=10", "vocab_size must be at least 365"),
    ("tokenizer=wordpiece tokenizer.vocab_size=10", "vocab_size must be at least 299"),
    ("tokenizer=unigram tokenizer.vocab_size=10", "vocab_size must be at least 365"),
    ("tokenizer=bpe tokenizer.vocab_size=999999999", "vocab_size must be at most 1,048,576"),
    ("tokenizer=pretrained", "tokenizer.path has no value and no default."),
    ("architecture=gpt2 data.seq_len=2048", "data.seq_len=2048 is longer than"),
    ("data.intra_document=true data.pack=false", "used only with data.pack (here"),
    ("trainer.best=highest", "trainer.best=highest has no effect: it is used only with"),
    (
        "objective=ppo objective.controller=fixed objective.kl_target=3",
        "objective.kl_target=3 has no effect: it is used only with objective.controller=adaptive "
        "(here objective.controller=fixed).",
    ),
    (
        "objective=ppo objective.beta=0 objective.kl_horizon=3",
        "objective.kl_horizon=3 has no effect: it is used only with objective.beta>0",
    ),
    (
        "objective=cispo objective.epsilon=.3",
        "used only with objective.surrogate=clip or objective.epsilon_high=null "
        "(here objective.surrogate=cispo, objective.epsilon_high=4).",
    ),
    ("objective=sft objective.replay_share=.5", "used only with objective.replay (here"),
    ("objective=ppo objective.value_epsilon=inf", "must be a finite number, got inf."),
]
NEED_A_TOKENIZER = [
    (
        "objective=seq2seq architecture=t5 data.intra_document=true",
        "data.intra_document has no effect",
    ),
    ("objective=prefix_lm data.intra_document=true", "data.intra_document has no effect"),
    (
        "objective=sop architecture=bert data.intra_document=true",
        "data.intra_document has no effect",
    ),
    ("objective=sop architecture=bert strategy=fsdp", "such as strategy=ddp."),
    ("objective=electra architecture=bert strategy=fsdp", "has weights outside the network"),
    ("objective=sop architecture=bert data.seq_len=4", "data.seq_len must be at least 5, got 4"),
]
BAD_DATA = [
    ("data.path=nothere.txt", "data.path=nothere.txt matches no file"),
    ("data.path=*.nothing", "data.path=*.nothing matches no file"),
    ("data.path=empty.txt", "empty.txt: the file is empty"),
    ("data.path=blank.txt", "no usable record"),
    ("data.path=binary.txt", "does not look like UTF-8 text"),
    ("data.path=latin.txt", "does not look like UTF-8 text"),
    ("data.path=a_file", "only one distinct record"),
    ("data.path=one_bad_line.txt data.strict=true", "one_bad_line.txt:199: not UTF-8 at byte 1"),
]


@pytest.mark.parametrize(("arguments", "message"), [*WRONG_NAMES, *WRONG_VALUES, *MISFITS])
def test_an_invalid_config_is_refused_with_a_short_message_and_a_remedy(
    command: Command, arguments: str, message: str
) -> None:
    assert message in command.refused(CONFIG, *arguments.split(" "))


@pytest.mark.parametrize(("arguments", "message"), NEED_A_TOKENIZER)
def test_a_config_that_does_not_fit_the_tokenizer_is_refused_before_a_folder_is_created(
    command: Command, arguments: str, message: str
) -> None:
    assert message in command.refused(CONFIG, *arguments.split(" "), late=True)


@pytest.mark.parametrize(("arguments", "message"), BAD_DATA)
def test_bad_data_is_refused_before_a_folder_is_created(
    command: Command, arguments: str, message: str
) -> None:
    assert message in command.refused(DATA, *arguments.split(" "))


def test_invalid_rows_are_reported_and_the_others_are_used(command: Command) -> None:
    code, out, _ = command.train("data.path=one_bad_line.txt", "run=a")
    assert code == 0
    assert "one_bad_line.txt:199: not UTF-8 at byte 1" in out


def test_data_with_no_trained_token_is_refused(command: Command) -> None:
    """A tokenizer to which every character of the data is unknown leaves nothing to mask."""
    trained = build(default("tokenizer/wordpiece")).build(lambda: iter([ENGLISH]))
    trained.save(command.folder / "english")
    text = "\n\n".join(chr(0x4E00 + i) * 9 for i in range(9))
    (command.folder / "unknown.txt").write_text(text, encoding="utf-8")
    message = command.refused(
        DATA, "objective=mlm", "architecture=bert", "data.path=unknown.txt", "data.document=line",
        "tokenizer=pretrained", "tokenizer.path=english",
    )  # fmt: skip
    assert "objective/mlm: none of the " in message


@pytest.mark.parametrize(
    "argument",
    ["data.path=数据/文本.txt", "data.path=my book (1).txt", "run=a b=c (1), ${x} 'd' 好"],
)
def test_paths_need_no_escaping_beyond_the_shells(command: Command, argument: str) -> None:
    folder = command.trained(*(["run=a"] if "run" not in argument else []), argument)
    assert folder.is_dir()
    assert "run" not in argument or folder.name == argument.removeprefix("run=")


def test_chinese_text_trains_a_tokenizer_and_a_network(command: Command) -> None:
    small = ("tokenizer=bpe", "tokenizer.vocab_size=400", "data.path=数据/文本.txt", "run=a")
    assert len(steps(command.trained(*small))) == 2


def test_two_runs_started_in_the_same_second_have_separate_folders(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    first, second = command.trained(), command.trained("seed=1")
    assert (first.name, second.name) == ("now", "now_2")
    assert steps(first) != steps(second)


def test_repeating_the_command_of_a_finished_run_only_prints_its_folder(command: Command) -> None:
    first = command.trained("run=a")
    before = (first / "steps.jsonl").stat().st_mtime_ns
    assert command.trained("run=a") == first
    assert (first / "steps.jsonl").stat().st_mtime_ns == before


def test_a_run_with_init_from_has_the_parents_network_and_refuses_another(
    command: Command,
) -> None:
    parent = command.trained("run=parent")
    message = command.refused(CONFIG, f"init_from={parent}", "run=child", "architecture.dim=32")
    assert "architecture.dim=32 (the parent has 16)" in message
    rest = [item for item in SMALL if not item.startswith(("architecture", "tokenizer"))]
    code, _, err = command("train", *rest, f"init_from={parent}", "objective=mlm", "run=child")
    assert code == CONFIG
    assert "objective=mlm cannot train architecture=decoder_only." in err
    code, *_ = command("train", *rest, f"init_from={parent}", "run=child")
    assert code == 0


# Sweeps


def test_jobs_of_a_sweep_equal_the_same_jobs_run_alone(command: Command) -> None:
    rates = ["1e-4", "3e-4"]
    sweep = command.trained("-m", f"optimizer.lr={','.join(rates)}", "run=many")
    for number, rate in enumerate(rates):
        alone = command.trained(f"optimizer.lr={rate}", f"run=alone{number}")
        assert steps(sweep / str(number)) == steps(alone)
        weights = "model/model.safetensors"
        assert (sweep / str(number) / weights).read_bytes() == (alone / weights).read_bytes()


def test_a_failed_job_is_reported_and_the_others_run(command: Command) -> None:
    files = 'data.path="good.txt","nothere.txt","my book (1).txt"'
    code, _, err = command.train("-m", files, "run=many")
    assert code == DATA
    assert "job 1: data.path=nothere.txt matches no file" in err
    assert "failed jobs: 1" in err
    names = {path.name for path in (command.folder / "many").iterdir()}
    assert {"0", "2"} <= names
    assert "1" not in names


# A user's own plugins

MINE = '''"""Causal language modelling with label smoothing.

Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 7.
"""

from dataclasses import dataclass

import torch.nn.functional as F

from etude import plugin
from etude.objective.batches import next_token_batch
from etude.capability import Capability
from etude.objective.loss import Loss
from etude.objective.objective import Objective
from etude.records import Text
from etude.config.schema.plugins import ObjectiveConfig


@dataclass
class MineConfig(ObjectiveConfig):
    smoothing: float = 0.1
    """Probability spread over all tokens."""


@plugin(MineConfig, reads={Text}, needs={Capability.NEXT_TOKEN}, lr=1e-3, data="python_docs")
class Mine(Objective):
    """Cross-entropy with smoothed labels."""

    def example(self, record, rng):
        return record

    def collate(self, examples):
        return next_token_batch(examples, self.tools.tokenizer.vocab.pad, intra_document=False)

    def count(self, batch):
        return float(batch.targets.where.sum())

    def loss(self, batch):
        logits = self.network(batch.targets.inputs, batch.targets.where)
        ids = batch.targets.ids[batch.targets.where]
        smoothing = self.config.smoothing
        return Loss(F.cross_entropy(logits, ids, reduction="sum", label_smoothing=smoothing))
'''


def test_a_plugin_in_the_working_directory_is_available(
    command: Command, plugins: Callable[..., Path]
) -> None:
    plugins("objective/mine", MINE)
    listed = command("list", "objective")[1].split()
    assert listed[listed.index("mine") + 1] == "Causal"
    assert "objective.smoothing = 0.1  (float)" in command("show", "objective=mine")[1]
    message = command.refused(CONFIG, "objective=mine", "objective.smoothing=much")
    assert "objective.smoothing must be a number, got much." in message
    assert "Did you mean objective=mine?" in command.refused(CONFIG, "objective=minne")
    assert "cannot train architecture=bert" in command.refused(
        CONFIG, "objective=mine", "architecture=bert"
    )
    folder = command.trained("objective=mine", "objective.smoothing=0.2", "run=a")
    assert len(steps(folder)) == 2
    assert "objective/mine" in (folder / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_here\n" + MINE, "nothing_here"),
        (MINE + "\ndef (:\n", "is not valid Python"),
        ('"""Nothing."""\n', "does not register a plugin"),
    ],
    ids=["import", "syntax", "empty"],
)
def test_a_broken_plugin_is_reported_only_when_chosen(
    command: Command, plugins: Callable[..., Path], text: str, message: str
) -> None:
    name = f"broken_{len(text)}"
    file = plugins(f"objective/{name}", text)
    page = command.refused(CONFIG, f"objective={name}")
    assert message in page
    assert file.name in page
    code, out, _ = command("list", "objective")
    assert code == 0
    assert name in out
    command.trained("run=a")


def test_an_error_names_both_files_of_an_ambiguous_address(
    command: Command, plugins: Callable[..., Path]
) -> None:
    file = plugins("tokenizer/bpe", MINE)
    page = command.refused(CONFIG, "tokenizer=bpe")
    assert str(file) in page
    assert page.count("bpe.py") == 2
    command.trained("run=a")


def test_a_file_that_would_hide_a_group_is_refused(
    command: Command, plugins: Callable[..., Path]
) -> None:
    file = plugins("objective/__init__", "")
    assert f"{file} hides every other plugin" in command.refused(CONFIG, "objective=clm")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_cache_that_cannot_be_written_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", "/proc/nothing")
    page = command.refused(DATA, "run=a")
    assert "ETUDE_CACHE" in page
