"""`etude generate`, through the real command, on models of the three families."""

import json
from dataclasses import replace
from pathlib import Path

import parity
import pytest
import tiny
import torch
from transformers import BertConfig, BertForMaskedLM

from etude.cli.main import main
from etude.data.chat_template import prompt
from etude.formats.model import read_model
from etude.records import Message
from etude.training.run import start

TINY = (
    "tokenizer=byte", "architecture.dim=16", "architecture.n_layers=1", "data.seq_len=32",
    "trainer.max_steps=1", "trainer.global_batch=2", "trainer.val_samples=1", "logger=[]",
)  # fmt: skip
FAMILIES = {
    "decoder": (),
    "encoder": ("objective=mlm", "architecture=bert"),
    "both": ("objective=seq2seq", "architecture=t5"),
}
NO_ROLES_OF_BERT = {"bos_token", "eos_token"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each family."""
    folder = tmp_path_factory.mktemp("runs")
    for name, chosen in FAMILIES.items():
        assert main(["train", *chosen, *TINY, f"run={folder / name}"]) == 0
    return {name: folder / name for name in FAMILIES}


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command prints."""
    capsys.readouterr()
    assert main(["generate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("family", ["decoder", "both"])
def test_a_seed_gives_the_same_answer_and_another_a_different_one(
    family: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (f"run={runs[family]}", "prompt=The <sentinel_0> class, it's", "max_new_tokens=24")
    answers = [told(capsys, *asked, f"seed={seed}") for seed in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]


def test_what_is_streamed_is_what_is_printed_at_once(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (f"run={runs['decoder']}", "prompt=a, b", "max_new_tokens=24", "decoding=greedy")
    alone, both = told(capsys, *asked), told(capsys, *asked, "n=2")
    assert both == f"--- 1\n{alone}--- 2\n{alone}"


def test_a_stop_string_ends_the_answer_and_is_left_out(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (f"run={runs['decoder']}", "prompt=a", "max_new_tokens=60", "seed=3")
    whole = told(capsys, *asked)
    stop = next(c for c in whole[4:] if c.isalpha())
    assert told(capsys, *asked, f"stop=[{stop}]") == whole.partition(stop)[0] + "\n"


def test_every_gap_is_filled_and_its_candidates_are_ranked(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = told(capsys, f"run={runs['encoder']}", "prompt=ab[MASK]cd<mask>")
    gaps = [line for line in out.splitlines() if line.startswith("[MASK]")]
    assert out.startswith("ab")
    assert "cd" in out.partition("[MASK]")[0]
    assert [line.partition(":")[0] for line in gaps] == ["[MASK] 1", "[MASK] 2"]
    assert all(line.count("%") == 5 for line in gaps)


def test_a_hugging_face_folder_answers_as_the_run_it_came_from(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("prompt=The", "max_new_tokens=16", "seed=5")
    from_run = told(capsys, f"run={runs['decoder']}", *asked)
    assert told(capsys, f"run={runs['decoder'] / 'model'}", *asked) == from_run
    assert read_model(runs["decoder"] / "model").tokenizer.vocab == tiny.BYTES.vocab


def test_a_folder_of_bert_fills_what_transformers_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads [CLS] text [SEP], where the tokenizer names neither bos nor eos."""
    config = BertConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=20,
    )
    theirs = parity.saved(BertForMaskedLM(config), tmp_path)
    for parameter in theirs.parameters():
        parameter.data.mul_(3)  # so that every token that is read matters
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    roles = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in roles.items() if k not in NO_ROLES_OF_BERT}))
    vocab = tiny.BYTES.vocab
    ids = torch.tensor([[vocab.cls, *tiny.BYTES.encode("a"), vocab.mask, vocab.sep]])
    logits = theirs(ids).logits[0, 2]
    logits[list(read_model(tmp_path).tokenizer.vocab.special)] = -torch.inf
    best = logits.softmax(-1).topk(5)
    pieces = zip(tiny.BYTES.pieces(best.indices), best.values.tolist(), strict=True)
    wanted = "  ".join(f"{piece!r} {share:.1%}" for piece, share in pieces)
    assert f"[MASK] 1: {wanted}" in told(capsys, f"run={tmp_path}", "prompt=a[MASK]")


@pytest.mark.parametrize(
    ("family", "arguments", "page"),
    [
        ("decoder", ("prompt=a", "n=0"), "n must be at least 1, got 0"),
        ("decoder", ("prompt=a", "decoding=gredy"), "Did you mean decoding=greedy?"),
        ("encoder", ("prompt=a",), "prompt=a has nothing to fill"),
        ("encoder", (f"prompt=[MASK]{'a' * 600}",), "tells 512 positions apart"),
        ("encoder", ("prompt=a[MASK]", "n=3"), "n=3 has no effect"),
        ("decoder", ("prompt=a", "hydra.run.dir=x"), "hydra.run.dir=x would have no effect"),
        ("decoder", (), "prompt has no value"),
        ("decoder", ("prompt=a", "max_tokens=3"), "max_new_tokens"),
    ],
)
def test_what_cannot_be_answered_is_refused_on_a_page(
    family: str,
    arguments: tuple[str, ...],
    page: str,
    runs: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["generate", f"run={runs[family]}", *arguments]) == 2
    assert page in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"run={tmp_path}", "prompt=a"]) == 2
    assert "holds no model" in capsys.readouterr().err


def test_a_model_taught_conversations_is_asked_in_a_turn_and_answers_up_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.experiment("sft", tmp_path, trainer={"max_steps": 30, "precision": "32"})
    run = start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    model, said = read_model(run), [Message("system", "a"), Message("user", "hello, <bos>?")]
    vocab, network = model.tokenizer.vocab, model.network().eval()
    for n, given in ((1, []), (0, ["system=a"])):
        (wanted,) = tiny.continued(network, [prompt(model.tokenizer, said[n:])], 12)
        asked = (f"run={run}", "prompt=hello, <bos>?", "decoding=greedy", "max_new_tokens=12")
        kept = [i for i in wanted if i not in (*vocab.stops, vocab.pad)]
        text = model.tokenizer.decode(kept, skip_special=False)
        assert told(capsys, *asked, *given).removesuffix("\n") == text


def test_a_system_is_refused_by_a_model_that_knows_none(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"run={runs['decoder']}", "prompt=a", "system=b"]) == 2
    assert "was not taught conversations" in capsys.readouterr().err
