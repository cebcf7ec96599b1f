"""Every PEFT folder that is written works in PEFT over the base that it names."""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import adapters
import chains
import families
import peft
import pytest
import tiny
import torch
from damages import all_files, flip
from peft import AutoPeftModelForCausalLM
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from etude.config.registry import build
from etude.errors import CheckpointError
from etude.files.manifest import MANIFEST
from etude.formats.model import read_model
from etude.formats.model_folder import write_adapter, write_model
from etude.network.adapter import adapt, adapter_tensors
from etude.network.inputs import Inputs

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning:transformers",
    "ignore:.*Conv1D",
    "ignore:.*pattern keys",
    "ignore:.*tied layer",
)
AUTO: dict[str, Any] = {
    **dict.fromkeys(families.DECODERS, AutoModelForCausalLM),
    **dict.fromkeys(families.ENCODERS, AutoModelForMaskedLM),
    **dict.fromkeys(families.BOTH, AutoModelForSeq2SeqLM),
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"targets": ["*"], "rslora": True}),
    "dora": ("lora", {"targets": ["*"], "dora": True}),
    "ia3": ("ia3", {}),
    "prompt_tuning": ("prompt_tuning", {"length": 3}),
}
"""The adapters of PEFT, on every layer that they can adapt."""
REASONS = {
    "bottleneck": "PEFT has no equivalent of adapter=bottleneck",
    "prefix": "PEFT has no equivalent of adapter=prefix",
    "freeze": "PEFT has no equivalent of adapter=freeze",
    "both": r"a PEFT folder has one adapter, and this run has adapter=\[lora,freeze\]",
}
FAST = {("gpt2", "lora"), ("bert", "dora"), ("t5", "ia3"), ("bloom", "prompt_tuning")}
CASES = [
    pytest.param(family, kind, marks=[] if (family, kind) in FAST else [pytest.mark.slow])
    for family in AUTO
    for kind in KINDS
]


def adapted(folder: Path, family: str, adapter: dict[str, Any]) -> tuple[Any, str | None]:
    """A network with a random adapter, whose base and adapter are written; and the note."""
    objective = families.objective(family, "reward")  # any that takes every family
    weights = {name: t.float() for name, t in objective.network.state_dict().items()}
    write_model(families.model(objective, folder), weights, folder / "base")
    base = read_model(folder / "base")
    network = base.network()
    torch.manual_seed(0)
    adapt(network, adapter)
    adapters.randomise(network)
    model = replace(base, adapter=adapter, base=str(base.folder))
    names = adapter_tensors(network)
    return network.eval(), write_adapter(model, network.state_dict(), names, folder / "adapter")


def in_peft(folder: Path, auto: Any) -> Any:
    """The PEFT model of an adapter folder, over the base that it names."""
    fields = json.loads((folder / "adapter_config.json").read_text())
    base = auto.from_pretrained(fields["base_model_name_or_path"])
    return peft.PeftModel.from_pretrained(base, str(folder)).eval()


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_peft_folder_has_the_same_logits_over_the_base_that_it_names(
    family: str, kind: str, tmp_path: Path
) -> None:
    name, values = KINDS[kind]
    if (family, kind) == ("mixtral", "ia3"):
        values = {"inputs": ["*.mlp.experts.*.down"]}
    ours, note = adapted(tmp_path, family, {name: tiny.part("adapter", name, **values)})
    config = tmp_path / "adapter" / "adapter_config.json"
    is_prompt = kind == "prompt_tuning"
    if family == "mixtral" and not is_prompt:
        assert re.search(r"transformers stacks .*experts.* with others", str(note))
    elif is_prompt and family not in families.DECODERS:
        assert "prompt tuning is written for causal language models only" in str(note)
    else:
        assert note is None
        assert_same_logits(tmp_path, family, ours)
    assert config.exists() == (note is None)


def assert_same_logits(folder: Path, family: str, ours: Any) -> None:
    """PEFT computes what our network does, over the base of the folder."""
    ids = tiny.tokens(2, 7, vocab=tiny.BYTES.vocab)
    extra = {"decoder_input_ids": ids} if family in families.BOTH else {}
    with torch.no_grad():
        found = in_peft(folder / "adapter", AUTO[family])(input_ids=ids, **extra).logits[:, -7:]
        wanted = ours(Inputs(ids, source=Inputs(ids) if extra else None))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    fields = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert fields["base_model_name_or_path"] == str(folder / "base")


@pytest.mark.parametrize("kind", REASONS)
def test_an_adapter_that_peft_cannot_load_is_not_written_for_it_and_the_reason_is_recorded(
    kind: str, tmp_path: Path
) -> None:
    names = ["lora", "freeze"] if kind == "both" else [kind]
    _, note = adapted(tmp_path, "gpt2", {name: tiny.part("adapter", name) for name in names})
    assert re.fullmatch(f"adapter/ is not in PEFT's format: {REASONS[kind]}", str(note))
    assert not (tmp_path / "adapter" / "adapter_config.json").exists()
    manifest = json.loads((tmp_path / "adapter" / MANIFEST).read_text())
    assert manifest["facts"]["note"] == note


def test_the_adapter_of_a_run_on_an_adapter_loads_in_peft(tmp_path: Path) -> None:
    first = chains.run(tmp_path, "first", "sft", chains.llama(tmp_path / "llama"), "lora")
    assert not (first / "base").exists()  # PEFT opens the Hugging Face folder itself
    second = chains.run(tmp_path, "second", "dpo", first, "lora")
    theirs: Any = AutoPeftModelForCausalLM.from_pretrained(second / "adapter")
    with torch.no_grad():
        found = theirs.eval()(input_ids=chains.IDS).logits
    torch.testing.assert_close(found, chains.logits(second), rtol=0, atol=1e-5)
    template = AutoTokenizer.from_pretrained(second / "adapter").chat_template
    assert template == read_model(second).tokenizer.template
    assert torch.equal(chains.logits(second / "adapter"), chains.logits(second))


def test_the_adapter_of_a_reward_model_says_that_peft_cannot_read_its_scores(
    tmp_path: Path,
) -> None:
    run = chains.run(tmp_path, "run", "reward", chains.llama(tmp_path / "llama"), "lora")
    note = read_model(run).facts["note"]
    assert note == "PEFT cannot read the scores of adapter/: `etude merge` writes its head, too"


def test_the_adapter_of_a_run_that_goes_on_with_its_parents_adapter_loads_in_peft(
    tmp_path: Path,
) -> None:
    first = chains.run(tmp_path, "first", "sft", chains.llama(tmp_path / "llama"), "prompt_tuning")
    second = chains.run(tmp_path, "second", "sft", first, "prompt_tuning")
    theirs: Any = AutoPeftModelForCausalLM.from_pretrained(second / "adapter")
    with torch.no_grad():
        found = theirs.eval()(input_ids=chains.IDS).logits[:, -chains.IDS.shape[1] :]
    torch.testing.assert_close(found, chains.logits(second), rtol=0, atol=1e-5)


def test_a_base_with_another_vocabulary_is_written_beside_the_adapter(tmp_path: Path) -> None:
    base = read_model(chains.llama(tmp_path / "llama"))
    tokenizer = build(tiny.part("template", "chatml"), base.tokenizer)
    network: Any = build(base.architecture, tokenizer.vocab)
    base.load_weights(network)
    lora = {"lora": tiny.part("adapter", "lora", targets=["*"])}
    adapt(network, lora)
    adapters.randomise(network)
    model = replace(base, tokenizer=tokenizer, adapter=lora, base=str(base.folder))
    write_adapter(model, network.state_dict(), adapter_tensors(network), tmp_path / "adapter")
    ids = torch.tensor([[1, tokenizer.vocab.turn_start, 50, tokenizer.vocab.turn_end]])
    with torch.no_grad():
        found = in_peft(tmp_path / "adapter", AutoModelForCausalLM)(input_ids=ids).logits
        wanted = network.eval()(Inputs(ids))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert (tmp_path / "base" / "config.json").exists()


def test_a_flipped_bit_in_an_adapter_is_noticed_by_both_ways_to_read_it(tmp_path: Path) -> None:
    run = chains.run(tmp_path, "run", "dpo", chains.llama(tmp_path / "foreign"), "lora")
    random = Random(0)
    for file in all_files(run / "adapter"):
        whole = flip(file, random)
        for folder in (run / "adapter", run):
            with pytest.raises(CheckpointError, match="adapter"):
                read_model(folder).network()
        file.write_bytes(whole)
    assert read_model(run).network() is not None
