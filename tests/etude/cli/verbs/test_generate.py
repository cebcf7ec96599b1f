"""`etude generate` works with models of the three families."""

import json
import re
from dataclasses import replace
from pathlib import Path

import parity
import pytest
import tiny
import tokenizers
import torch
from transformers import BertConfig, BertForMaskedLM

from etude.cli.main import main
from etude.data.chat_template import prompt
from etude.data.special_tokens import write_around
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


def generate(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Returns the standard output of the command."""
    capsys.readouterr()
    assert main(["generate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("family", ["decoder", "both"])
def test_the_same_seed_gives_the_same_completion_and_another_seed_a_different_one(
    family: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"run={runs[family]}", "prompt=The <sentinel_0> class, it's", "max_new_tokens=24")
    answers = [generate(capsys, *options, f"seed={seed}") for seed in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]


def test_streamed_text_equals_text_printed_at_the_end(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"run={runs['decoder']}", "prompt=a, b", "max_new_tokens=24", "decoding=greedy")
    alone, both = generate(capsys, *options), generate(capsys, *options, "n=2")
    assert both == f"--- 1\n{alone}--- 2\n{alone}"


def test_a_stop_string_ends_the_completion_and_is_left_out(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"run={runs['decoder']}", "prompt=a", "max_new_tokens=60", "seed=3")
    whole = generate(capsys, *options)
    stop = next(c for c in whole[4:] if c.isalpha())
    assert generate(capsys, *options, f"stop=[{stop}]") == whole.partition(stop)[0] + "\n"


@pytest.mark.parametrize("n", [2, 4])
def test_no_beginning_of_a_stop_string_is_printed(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], n: int
) -> None:
    options = (f"run={runs['decoder']}", "prompt=a", "max_new_tokens=60", "seed=3")
    whole = generate(capsys, *options)
    start = next(i for i in range(4, len(whole)) if whole[i : i + n].isalpha())
    stop = whole[start : start + n]  # spread over several tokens
    assert generate(capsys, *options, f"stop=[{stop}]") == whole.partition(stop)[0] + "\n"


def test_every_mask_is_filled_and_its_candidates_are_ranked(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = generate(capsys, f"run={runs['encoder']}", "prompt=ab[MASK]cd<mask>")
    masks = [line for line in out.splitlines() if line.startswith("[MASK]")]
    assert out.startswith("ab")
    assert "cd" in out.partition("[MASK]")[0]
    assert [line.partition(":")[0] for line in masks] == ["[MASK] 1", "[MASK] 2"]
    assert all(line.count("%") == 5 for line in masks)


def test_a_hugging_face_folder_generates_the_same_text_as_its_run(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("prompt=The", "max_new_tokens=16", "seed=5")
    from_run = generate(capsys, f"run={runs['decoder']}", *options)
    assert generate(capsys, f"run={runs['decoder'] / 'model'}", *options) == from_run
    assert read_model(runs["decoder"] / "model").tokenizer.vocab == tiny.BYTES.vocab


def test_a_bert_folder_fills_masks_as_transformers_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The input is [CLS] text [SEP], as the post-processor says; BERT has neither bos nor eos."""
    config = BertConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=20,
    )
    theirs = parity.save_model(BertForMaskedLM(config), tmp_path)
    for parameter in theirs.parameters():
        parameter.data.mul_(3)  # so that every token that is read matters
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    roles = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in roles.items() if k not in NO_ROLES_OF_BERT}))
    inner = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    write_around(inner, ["<cls>"], ["<sep>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    vocab = tiny.BYTES.vocab
    ids = torch.tensor([[vocab.cls, *tiny.BYTES.encode("a"), vocab.mask, vocab.sep]])
    logits = theirs(ids).logits[0, 2]
    logits[list(read_model(tmp_path).tokenizer.vocab.special)] = -torch.inf
    best = logits.softmax(-1).topk(5)
    pieces = zip(tiny.BYTES.pieces(best.indices), best.values.tolist(), strict=True)
    wanted = "  ".join(f"{piece!r} {share:.1%}" for piece, share in pieces)
    assert f"[MASK] 1: {wanted}" in generate(capsys, f"run={tmp_path}", "prompt=a[MASK]")


def test_diffusion_infills_a_prompt_and_continues_another(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"run={runs['encoder']}", "generator=diffusion", "generator.steps=3")
    out = generate(capsys, *options, "prompt=ab[MASK]cd")
    assert re.fullmatch(r"ab.*cd\n", out, re.DOTALL)
    assert out != "abcd\n"
    assert generate(capsys, *options, "prompt=ab", "max_new_tokens=4") != "ab\n"


def test_beams_and_a_draft_complete_a_prompt(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"run={runs['decoder']}", "prompt=a, b", "max_new_tokens=12", "decoding=greedy")
    plain = generate(capsys, *options)
    assert generate(capsys, *options, "generator=beam", "generator.beams=1") == plain
    draft = f"generator.draft={runs['decoder']}"
    assert generate(capsys, *options, "generator=speculative", draft) == plain


@pytest.mark.parametrize(
    ("family", "arguments", "page"),
    [
        ("decoder", ("prompt=a", "n=0"), "n must be at least 1, got 0"),
        ("decoder", ("prompt=a", "decoding=gredy"), "Did you mean decoding=greedy?"),
        ("encoder", ("prompt=a",), "prompt=a has no mask."),
        ("encoder", (f"prompt=[MASK]{'a' * 600}",), "supports at most 512 positions"),
        ("encoder", ("prompt=a[MASK]", "n=3"), "n=3 has no effect"),
        ("decoder", ("prompt=a", "hydra.run.dir=x"), "hydra.run.dir=x would have no effect"),
        ("decoder", (), "prompt has no value"),
        ("decoder", ("prompt=a", "max_tokens=3"), "max_new_tokens"),
    ],
)
def test_a_prompt_that_the_model_cannot_process_is_refused(
    family: str,
    arguments: tuple[str, ...],
    page: str,
    runs: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["generate", f"run={runs[family]}", *arguments]) == 2
    assert page in capsys.readouterr().err


def test_a_model_that_was_trained_for_its_hidden_states_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "objective=reward", *TINY, "data.seq_len=256", f"run={run}"]) == 0
    assert main(["generate", f"run={run}", "prompt=a"]) == 2
    assert "writes no text: objective/reward does not train the LM head" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"run={tmp_path}", "prompt=a"]) == 2
    assert "contains no model" in capsys.readouterr().err


def test_a_chat_model_gets_the_prompt_as_a_user_turn_and_stops_at_the_end_of_its_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.experiment("sft", tmp_path, trainer={"max_steps": 30, "precision": "32"})
    run = start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    model, messages = read_model(run), [Message("system", "a"), Message("user", "hello, <bos>?")]
    vocab, network = model.tokenizer.vocab, model.network().eval()
    for n, given in ((1, []), (0, ["system=a"])):
        (wanted,) = tiny.continuations(network, [prompt(model.tokenizer, messages[n:])], 12)
        options = (f"run={run}", "prompt=hello, <bos>?", "decoding=greedy", "max_new_tokens=12")
        kept = [i for i in wanted if i not in (*vocab.stops, vocab.pad)]
        text = model.tokenizer.decode(kept, skip_special=False)
        assert generate(capsys, *options, *given).removesuffix("\n") == text


def test_a_system_message_is_refused_for_a_model_without_a_chat_template(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"run={runs['decoder']}", "prompt=a", "system=b"]) == 2
    assert "system=b has no effect: the prompt is plain text" in capsys.readouterr().err
