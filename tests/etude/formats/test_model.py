"""A foreign model is read as transformers reads it: its text, its weights, its stop tokens."""

import json
from pathlib import Path
from typing import Any

import foreign
import parity
import pytest
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from etude.cli.main import main
from etude.config.schema.plugins import TextDataConfig
from etude.data.token_rows import TokenRows, write_tokens
from etude.errors import CheckpointError
from etude.formats.model import read_model

END = "<|endoftext|>"
CHAT = """\
{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
FRAMES: dict[str, tuple[str, list[str], str | None, dict[str, Any]]] = {
    "no bos": ("qwen2", [END, "<|im_start|>", "<|im_end|>"], None, {"eos_token": END}),
    "bos": ("llama", ["<unk>", "<s>", "</s>"], "<s> $A", {"bos_token": "<s>", "eos_token": "</s>"}),
    "unwritten bos": ("gpt2", [END], None, {"bos_token": END, "eos_token": END}),
    "a bos of its own": ("bloom", ["<a>", "<b>"], "<a> $A", {"eos_token": "<b>"}),
    "no names": ("mixtral", ["<unk>", "<s>", "</s>"], "<s> $A", {}),
}
"""Family, special tokens, post-processor and roles."""
frames = pytest.mark.parametrize("frame", FRAMES)


def saved(frame: str, folder: Path, **fields: Any) -> tuple[Any, Any]:
    """Saves a small model with this frame; returns transformers' model and tokenizer."""
    family, specials, around, roles = FRAMES[frame]
    made = foreign.save_tokenizer(folder, specials, around, **roles)
    foreign.save_model(folder, family, made, **fields)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    return theirs.eval(), AutoTokenizer.from_pretrained(folder)


def generated(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The standard output of a greedy `etude generate`, without the final line break."""
    capsys.readouterr()
    options = ("decoding=greedy", "max_new_tokens=24", *arguments)
    assert main(["generate", f"run={folder}", *options]) == 0
    return capsys.readouterr().out.removesuffix("\n")


def continued(theirs: Any, tokenizer: Any, ids: list[int]) -> str:
    """The text that transformers continues these ids with, greedily, up to its own stop."""
    out = theirs.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=24,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip
    stops = theirs.generation_config.eos_token_id
    kept = out[0, len(ids) :].tolist()
    if kept and kept[-1] in (stops if isinstance(stops, list) else [stops]):
        kept.pop()
    return tokenizer.decode(kept, skip_special_tokens=False)


@frames
@pytest.mark.parametrize("padded", [0, 7])
def test_the_loss_of_documents_is_that_of_transformers(
    frame: str, padded: int, tmp_path: Path
) -> None:
    """No token is added to a text, and no row to the table, which may be longer than needed."""
    theirs, tokenizer = saved(frame, tmp_path)
    theirs.resize_token_embeddings(len(tokenizer) + padded, mean_resizing=False)
    parity.randomise(theirs)
    theirs.save_pretrained(tmp_path)
    model = read_model(tmp_path)
    write_tokens(foreign.TEXTS, model.tokenizer, tmp_path)
    rows = TokenRows(tmp_path, TextDataConfig(seq_len=64, pack=False))
    context = tiny.tools(model.tokenizer, seq_len=64, architecture=model.architecture)
    objective = tiny.objective("clm", model.network().eval(), tools=context)
    batch = objective.collate([rows[i] for i in range(len(rows))])
    eos = model.tokenizer.vocab.eos
    with torch.no_grad():
        found = float(objective.loss(batch).total)
        wanted = 0.0
        for text in foreign.TEXTS:
            ids = torch.tensor([[*tokenizer(text)["input_ids"], eos]])
            wanted += float(
                F.cross_entropy(theirs(ids).logits[0, :-1], ids[0, 1:], reduction="sum")
            )
    assert found == pytest.approx(wanted, rel=1e-5)


@frames
def test_a_prompt_is_continued_as_by_transformers(
    frame: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, tokenizer = saved(frame, tmp_path)
    for text in ("The capital of Italy is", f"The{tokenizer.eos_token or '</s>'}text"):
        wanted = continued(theirs, tokenizer, tokenizer(text)["input_ids"])
        assert generated(capsys, tmp_path, f"prompt={text}") == wanted


@pytest.mark.parametrize(
    ("family", "around"), [("t5", "$A </s>"), ("bart", "<s> $A </s>")], ids=["t5", "bart"]
)
def test_a_source_is_transformed_as_by_transformers(
    family: str, around: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<unk>"}
    tokenizer = foreign.save_tokenizer(tmp_path, ["<pad>", "<s>", "</s>", "<unk>"], around, **named)
    start = tokenizer.pad_token_id if family == "t5" else tokenizer.eos_token_id
    ids = {"decoder_start_token_id": start, "forced_eos_token_id": None}
    theirs = foreign.save_model(tmp_path, family, tokenizer, AutoModelForSeq2SeqLM, **ids)
    source = torch.tensor([tokenizer("The capital of Italy is")["input_ids"]])
    out = theirs.generate(source, max_new_tokens=24, do_sample=False)[0, 1:].tolist()
    hidden = (tokenizer.eos_token_id, tokenizer.pad_token_id)
    wanted = tokenizer.decode([i for i in out if i not in hidden], skip_special_tokens=False)
    assert generated(capsys, tmp_path, "prompt=The capital of Italy is") == wanted


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_mask_is_filled_as_by_transformers(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    roles = {f"{one[1:-1].lower()}_token": one for one in specials}
    mask = AddedToken("[MASK]", lstrip=True, special=True)  # absorbs a space, as in RoBERTa
    made = foreign.save_tokenizer(tmp_path, specials, "[CLS] $A [SEP]", mask_token=mask, **roles)
    theirs = foreign.save_model(tmp_path, family, made, AutoModelForMaskedLM)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer("The capital of [MASK] is Rome")["input_ids"]])
    logits = theirs(ids).logits.detach()[ids == tokenizer.mask_token_id][0]
    logits[tokenizer.all_special_ids] = -torch.inf
    wanted = tokenizer.decode([int(logits.argmax())])
    share = f"{wanted!r} {float(logits.softmax(-1).max()):.1%}"
    assert main(["generate", f"run={tmp_path}", "prompt=The capital of [MASK] is Rome"]) == 0
    assert f"[MASK] 1: {share}" in capsys.readouterr().out


def test_a_completion_stops_where_the_models_config_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, tokenizer = saved("no bos", tmp_path)
    text = "The capital of Italy is"
    ids = tokenizer(text)["input_ids"]
    whole = theirs.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=0)
    third = int(whole[0, len(ids) + 3])
    config = json.loads((tmp_path / "generation_config.json").read_text())
    config["eos_token_id"] = [tokenizer.eos_token_id, third]
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    wanted = continued(theirs, tokenizer, ids)
    assert len(tokenizer(wanted)["input_ids"]) < 8
    assert generated(capsys, tmp_path, f"prompt={text}") == wanted


@pytest.mark.parametrize(("as_turn", "in_turn"), [("auto", True), ("true", True), ("false", False)])
def test_as_turn_decides_whether_a_chat_model_answers_or_continues(
    as_turn: str, in_turn: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, tokenizer = saved("no bos", tmp_path)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(tmp_path)
    text = "The capital of Italy is"
    ids = tokenizer(text)["input_ids"]
    if in_turn:
        messages = [{"role": "user", "content": text}]
        chat = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        ids = chat["input_ids"]
    wanted = continued(theirs, tokenizer, ids)
    assert main(["generate", f"run={tmp_path}", "prompt=a", f"as_turn={as_turn}"]) == 0
    shown = capsys.readouterr().err
    assert ("(as_turn=true)" if in_turn else "(as_turn=false)") in shown
    assert generated(capsys, tmp_path, f"prompt={text}", f"as_turn={as_turn}") == wanted


def test_as_turn_is_refused_without_a_chat_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved("no bos", tmp_path)
    assert main(["generate", f"run={tmp_path}", "prompt=a", "as_turn=true"]) == 2
    assert "has no chat template" in capsys.readouterr().err


def test_the_index_decides_which_files_are_read(tmp_path: Path) -> None:
    """Shards of an older save, with other weights, are left over in the folder."""
    theirs, _ = saved("bos", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path, max_shard_size="3KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    before = read_model(tmp_path)
    state = before.network().state_dict()
    digest = before.digest
    for file in shards:
        old = {name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}
        save_file(old, file.with_name(f"{file.stem}-of-99999.safetensors"))
        save_file(old, file.with_name(f"zz-{file.name}"))
    after = read_model(tmp_path)
    assert all(torch.equal(tensor, state[k]) for k, tensor in after.network().state_dict().items())
    assert after.digest == digest
    theirs.save_pretrained(tmp_path)  # one file, which transformers prefers to an index
    assert read_model(tmp_path).digest != digest


def test_a_missing_shard_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, _ = saved("bos", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path, max_shard_size="3KB")
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    assert main(["generate", f"run={tmp_path}", "prompt=a"]) == 4
    assert str(lost) in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(content: str, tmp_path: Path) -> None:
    saved("bos", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        read_model(tmp_path).network()


def test_a_missing_field_ends_the_command_with_4_and_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved("bos", tmp_path)
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    del fields["num_hidden_layers"]
    file.write_text(json.dumps(fields))
    for arguments in (
        ("generate", f"run={tmp_path}", "prompt=a"),
        ("train", f"init_from={tmp_path}"),
    ):
        assert main([*arguments]) == 4
        assert f"{file} has no field 'num_hidden_layers'" in capsys.readouterr().err
