"""What reliability.md promises, tried through the command where a user meets it."""

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
    """The command in a folder of sample files; it sees what it leaves there."""

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
        """The page of a refusal, which leaves nothing behind; `late` = the data was prepared."""
        before = sorted(self.folder.rglob("*"))
        ended, out, err = self.train(*arguments)
        assert ended == code, err
        assert "Traceback" not in err
        assert 0 < len(err.splitlines()) <= PAGE
        assert sorted(self.folder.rglob("*")) == before
        assert code != CONFIG or not out or late
        return err

    def trained(self, *arguments: str) -> Path:
        """The folder of a run that ends well."""
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
    """Drops a plugin into `./plugins`, as a new process would find it."""

    def drop(address: str, text: str) -> Path:
        file = command.folder / "plugins" / f"{address}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
        return file

    return drop


def steps(folder: Path) -> list[dict[str, Any]]:
    """What a run wrote of its steps, but for clocks."""
    read = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read]


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
    ("objective=null", "objective=null chooses nothing."),
    ("callback=null", "To choose none: callback=[]."),
    ("~objective", "every experiment has one objective"),
    ("~architecture/mlp", "Give one: architecture/mlp=..."),
    ("tokenizer=[bpe,byte]", "tokenizer is one plugin, not a list."),
]
WRONG_VALUES = [
    ("optimizer.lr=abc", "optimizer.lr must be a number, got abc."),
    ("optimizer.lr=-1", "optimizer.lr must be positive, got -1.0"),
    ("optimizer.lr=nan", "optimizer.lr must be a finite number, got nan."),
    ("optimizer.lr=inf", "optimizer.lr must be a finite number, got inf."),
    ("optimizer.lr=true", "optimizer.lr must be a number, got True."),
    ("optimizer.lr=1e-3,1e-4", "To try each in turn add -m"),
    ("trainer.max_steps=0", "trainer.max_steps must be positive, got 0"),
    ("trainer.max_steps=1.5", "trainer.max_steps must be a whole number, got 1.5."),
    ("trainer.compile=3", "trainer.compile must be true or false, got 3."),
    ("data.pack=yes", "data.pack must be true or false, got yes."),
    ("trainer.precision=33", "trainer.precision must be one of 32, 64"),
    ("trainer.accelerator=tpu", "trainer.accelerator must be one of auto, cpu"),
    ("trainer.non_finite=maybe", "expected one of [stop, skip]"),
    ("trainer.micro_batch=3", "global_batch=4, devices=1, micro_batch=3"),
    ("trainer.devices=0", "trainer.devices must be positive, got 0"),
    ("trainer.devices=2", "strategy=single has room for 1 device, and trainer.devices=2."),
    ("seed=-1", "seed must be 0 to 2**63 - 1, got -1"),
    ("seed=99999999999999999999", "seed must be 0 to 2**63 - 1"),
    ("architecture.n_heads=3", "architecture.dim must be a multiple of n_heads"),
    ("architecture.dropout=1", "architecture.dropout must be in [0, 1), got 1.0"),
    ("architecture.dim=10", "rope needs an even head width"),
    ("architecture.mixer.queries_per_kv=3", "queries_per_kv must divide n_heads, got 3 for 2"),
    ("data.val_fraction=0", "data.val_fraction must lie strictly between 0 and 1"),
    ("data.seq_len=1", "data.seq_len must be at least 2, got 1"),
    ("data.document=pages", "expected one of [blocks, line, file]"),
    ("data.path=", "data.path names no file: it is empty"),
    ("run=", "run names no folder: it is empty"),
    ("run=a_file", "a_file is not a folder"),
    ("run=a_file/below", "a_file is not a folder"),
    ("run=/proc/a_run", "/proc is not a folder this user may write to"),
    ("run=.", "is not empty and holds no run."),
    ("init_from=nowhere", "init_from=nowhere cannot be started from"),
    ("optimizer.lr=${nothing}", "optimizer.lr"),
]
MISFITS = [
    ("objective=mlm", "Architectures that provide it: encoder_only (albert, bert, modernbert,"),
    ("architecture=bert", "objective=clm cannot train architecture=bert."),
    ("objective=sop architecture=encoder_only", "architecture.n_segments=2 adds them"),
    ("objective=distill", "objective.run has no value, and no default."),
    ("objective=distill objective.run=a_file", "objective.run=a_file cannot be learned from"),
    ("objective=dpo", "Data here that fits: docs_preferences, jsonl_preferences."),
    ("reward=exact_answer", "reward=[exact_answer] has no effect"),
    ("tokenizer=bpe tokenizer.vocab_size=10", "vocab_size must be at least 365"),
    ("tokenizer=wordpiece tokenizer.vocab_size=10", "vocab_size must be at least 299"),
    ("tokenizer=unigram tokenizer.vocab_size=10", "vocab_size must be at least 365"),
    ("tokenizer=bpe tokenizer.vocab_size=999999999", "vocab_size must be at most 1,048,576"),
    ("tokenizer=pretrained", "tokenizer.path has no value, and no default."),
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
    ("objective=sop architecture=bert strategy=fsdp", "such as strategy=ddp, trains it."),
    ("objective=electra architecture=bert strategy=fsdp", "has weights of its own beside"),
    ("objective=sop architecture=bert data.seq_len=4", "data.seq_len must be at least 5, got 4"),
]
BAD_DATA = [
    ("data.path=nothere.txt", "data.path=nothere.txt names no file"),
    ("data.path=*.nothing", "data.path=*.nothing names no file"),
    ("data.path=empty.txt", "empty.txt: the file is empty"),
    ("data.path=blank.txt", "no usable record"),
    ("data.path=binary.txt", "does not look like UTF-8 text"),
    ("data.path=latin.txt", "does not look like UTF-8 text"),
    ("data.path=a_file", "only one distinct record"),
    ("data.path=one_bad_line.txt data.strict=true", "one_bad_line.txt:199: not UTF-8 at byte 1"),
]


@pytest.mark.parametrize(("given", "said"), [*WRONG_NAMES, *WRONG_VALUES, *MISFITS])
def test_a_bad_config_is_refused_on_one_page_with_the_way_out(
    command: Command, given: str, said: str
) -> None:
    assert said in command.refused(CONFIG, *given.split(" "))


@pytest.mark.parametrize(("given", "said"), NEED_A_TOKENIZER)
def test_what_an_objective_finds_out_from_its_tokenizer_is_refused_before_a_folder_is_made(
    command: Command, given: str, said: str
) -> None:
    assert said in command.refused(CONFIG, *given.split(" "), late=True)


@pytest.mark.parametrize(("given", "said"), BAD_DATA)
def test_bad_data_is_refused_before_a_folder_is_made(
    command: Command, given: str, said: str
) -> None:
    assert said in command.refused(DATA, *given.split(" "))


def test_rows_that_cannot_be_read_are_named_and_the_others_used(command: Command) -> None:
    code, out, _ = command.train("data.path=one_bad_line.txt", "run=a")
    assert code == 0
    assert "one_bad_line.txt:199: not UTF-8 at byte 1" in out


def test_data_with_no_trained_token_is_refused(command: Command) -> None:
    """A tokenizer to which every character of the data is unknown leaves nothing to mask."""
    trained = build(default("tokenizer/wordpiece")).build(lambda: iter([ENGLISH]))
    trained.save(command.folder / "english")
    text = "\n\n".join(chr(0x4E00 + i) * 9 for i in range(9))
    (command.folder / "unknown.txt").write_text(text, encoding="utf-8")
    said = command.refused(
        DATA, "objective=mlm", "architecture=bert", "data.path=unknown.txt", "data.document=line",
        "tokenizer=pretrained", "tokenizer.path=english",
    )  # fmt: skip
    assert "holds a token that objective/mlm is trained on" in said


@pytest.mark.parametrize(
    "given", ["data.path=数据/文本.txt", "data.path=my book (1).txt", "run=a b=c (1), ${x} 'd' 好"]
)
def test_free_text_is_taken_as_it_is_typed(command: Command, given: str) -> None:
    folder = command.trained(*(["run=a"] if "run" not in given else []), given)
    assert folder.is_dir()
    assert "run" not in given or folder.name == given.removeprefix("run=")


def test_chinese_text_trains_a_tokenizer_and_a_network(command: Command) -> None:
    small = ("tokenizer=bpe", "tokenizer.vocab_size=400", "data.path=数据/文本.txt", "run=a")
    assert len(steps(command.trained(*small))) == 2


def test_two_runs_of_one_second_have_a_folder_each(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    first, second = command.trained(), command.trained("seed=1")
    assert (first.name, second.name) == ("now", "now_2")
    assert steps(first) != steps(second)


def test_a_finished_run_is_only_named_again(command: Command) -> None:
    first = command.trained("run=a")
    before = (first / "steps.jsonl").stat().st_mtime_ns
    assert command.trained("run=a") == first
    assert (first / "steps.jsonl").stat().st_mtime_ns == before


def test_a_run_that_starts_from_another_has_its_network_and_says_what_it_loses(
    command: Command,
) -> None:
    parent = command.trained("run=parent")
    said = command.refused(CONFIG, f"init_from={parent}", "run=child", "architecture.dim=32")
    assert "architecture.dim=32 (it has 16)" in said
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


def test_a_job_that_fails_is_reported_and_the_others_go_on(command: Command) -> None:
    code, _, err = command.train("-m", "data.path=good.txt,nothere.txt,my book (1).txt", "run=many")
    assert code == DATA
    assert "job 1: data.path=nothere.txt names no file" in err
    assert "jobs that failed: 1" in err
    made = {path.name for path in (command.folder / "many").iterdir()}
    assert {"0", "2"} <= made
    assert "1" not in made


# Plugins of one's own

MINE = '''"""Causal language modelling of mine: some probability is spread over all tokens.

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


def test_a_plugin_in_the_working_folder_is_there(
    command: Command, plugins: Callable[..., Path]
) -> None:
    plugins("objective/mine", MINE)
    listed = command("list", "objective")[1].split()
    assert listed[listed.index("mine") + 1] == "Causal"
    assert "objective.smoothing = 0.1  (float)" in command("show", "objective=mine")[1]
    said = command.refused(CONFIG, "objective=mine", "objective.smoothing=much")
    assert "objective.smoothing must be a number, got much." in said
    assert "Did you mean objective=mine?" in command.refused(CONFIG, "objective=minne")
    assert "cannot train architecture=bert" in command.refused(
        CONFIG, "objective=mine", "architecture=bert"
    )
    folder = command.trained("objective=mine", "objective.smoothing=0.2", "run=a")
    assert len(steps(folder)) == 2
    assert "objective/mine" in (folder / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_here\n" + MINE, "nothing_here"),
        (MINE + "\ndef (:\n", "is not Python"),
        ('"""Nothing."""\n', "holds no plugin"),
    ],
    ids=["import", "syntax", "empty"],
)
def test_a_broken_plugin_is_named_when_chosen_and_breaks_nothing_else(
    command: Command, plugins: Callable[..., Path], text: str, said: str
) -> None:
    name = f"broken_{len(text)}"
    file = plugins(f"objective/{name}", text)
    page = command.refused(CONFIG, f"objective={name}")
    assert said in page
    assert file.name in page
    code, out, _ = command("list", "objective")
    assert code == 0
    assert name in out
    command.trained("run=a")


def test_two_files_with_one_address_are_both_named(
    command: Command, plugins: Callable[..., Path]
) -> None:
    file = plugins("tokenizer/bpe", MINE)
    page = command.refused(CONFIG, "tokenizer=bpe")
    assert str(file) in page
    assert page.count("bpe.py") == 2
    command.trained("run=a")


def test_a_file_that_would_hide_a_group_is_named(
    command: Command, plugins: Callable[..., Path]
) -> None:
    file = plugins("objective/__init__", "")
    assert f"{file} hides every other plugin" in command.refused(CONFIG, "objective=clm")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_cache_that_cannot_be_written_is_said_so(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", "/proc/nothing")
    page = command.refused(DATA, "run=a")
    assert "ETUDE_CACHE" in page
