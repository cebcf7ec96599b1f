"""Compares our adapters with PEFT's, on transformers models."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import parity
import peft
import tiny
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from etude.formats import peft as peft_format
from etude.formats.model import Model, read_model
from etude.formats.model_folder import write_adapter
from etude.network.adapter import adapt, adapter_tensors, load_adapter_tensors
from etude.network.inputs import Inputs

VOCAB = tiny.BYTES.vocab


def gpt2() -> Any:  # transformers' models are dynamically typed
    ends: dict[str, Any] = {"bos_token_id": VOCAB.bos, "eos_token_id": VOCAB.eos}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCAB.size, n_embd=16, n_layer=2, n_head=4, n_positions=32, **ends)
    )


def llama() -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB.size,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
        )
    )


FAMILIES: dict[str, Callable[[], Any]] = {"gpt2": gpt2, "llama": llama}


def saved_adapter(family: str, folder: Path, config: Any) -> Any:
    """A PEFT model with random adapter weights, saved in `base` and `adapter`."""
    base = parity.save_model(FAMILIES[family](), folder / "base")
    base.name_or_path = str(folder / "base")
    made = peft.get_peft_model(copy.deepcopy(base), config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    made.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
    return made.eval()


def ids() -> torch.Tensor:
    return tiny.tokens(2, 7, vocab=VOCAB)


def unmerged(model: Model) -> Any:
    """The network of a PEFT folder, with its adapter not merged."""
    base = read_model(str(model.base))
    made = base.network()
    adapt(made, model.adapter)
    config = model.architecture, VOCAB, model.adapter
    load_adapter_tensors(made, peft_format.read_adapter(model.folder, *config, made.state_dict()))
    return made.eval()


def assert_same_logits(folder: Path, theirs: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Checks that logits agree, merged or not; returns our network and both logits."""
    model = read_model(folder / "adapter")
    ours = unmerged(model)
    found, wanted = ours(Inputs(ids())), theirs(ids()).logits[:, -7:]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    with torch.no_grad():
        merged = model.network().eval()(Inputs(ids()))
    torch.testing.assert_close(merged, found, rtol=0, atol=1e-5)
    return ours, found, wanted


def assert_same_pass(folder: Path, theirs: Any) -> None:
    """Logits (merged or not) and adapter gradients agree to 1e-5 in fp32."""
    model = read_model(folder / "adapter")
    ours, found, wanted = assert_same_logits(folder, theirs)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    for logits in (found, wanted):
        (logits * weights).sum().backward()
    grads = {n: p.grad for n, p in ours.named_parameters() if p.requires_grad}
    gathered = _gathered(model, grads)
    named = {
        name.replace(".default", "").removeprefix(peft_format.PREFIX): p.grad
        for name, p in theirs.named_parameters()
        if p.requires_grad
    }
    assert len(gathered) == len(named)
    for (name, grad), wanted_grad in zip(sorted(gathered.items()), _sorted(named), strict=True):
        assert (grad - wanted_grad).norm() <= 1e-5 * wanted_grad.norm() + 1e-6, name


def _sorted(named: dict[str, Any]) -> list[Any]:
    return [grad for _, grad in sorted(named.items())]


ENDS = {
    "down": "lora_A.weight",
    "up": "lora_B.weight",
    "magnitude": "lora_magnitude_vector.weight",
    "output_scale": "ia3_l",
    "input_scale": "ia3_l",
}


def _gathered(model: Model, grads: dict[str, Any]) -> dict[str, Any]:
    """Our gradients by PEFT's names; inputs of maps that PEFT fuses are shared, so summed."""
    if list(grads) == ["stack.vectors"]:
        return {"prompt_embeddings": grads["stack.vectors"]}
    plain = {name.replace(".base.", "."): grad for name, grad in grads.items()}
    theirs = peft_format._transformers_view(model.architecture, VOCAB, {})
    assert theirs is not None
    found: dict[str, Any] = {}
    for one in theirs.linears:
        for ours, end in ENDS.items():
            parts = [plain[f"{o}.{ours}"] for o in one.ours if f"{o}.{ours}" in plain]
            if not parts:
                continue
            grad: Any = sum(parts) if ours == "down" else one.join(parts)
            if ours.endswith("scale"):
                grad = grad[None] if ours.startswith("input") else grad[:, None]
            found[f"{one.name}.{end}"] = grad
    return found


def assert_round_trip(family: str, folder: Path, adapter: dict[str, Any]) -> None:
    """Logits survive: written by us, loaded and saved by PEFT, loaded by us."""
    parity.save_model(FAMILIES[family](), folder / "base")
    base = read_model(folder / "base")
    ours = base.network()
    adapt(ours, adapter)
    adapters.randomise(ours)
    with torch.no_grad():
        wanted = ours.eval()(Inputs(ids()))
    model = replace(base, adapter=adapter, base=str(folder / "base"))
    write_adapter(model, ours.state_dict(), adapter_tensors(ours), folder / "ours")
    host = AutoModelForCausalLM.from_pretrained(folder / "base")
    theirs = peft.PeftModel.from_pretrained(host, str(folder / "ours")).eval()
    theirs.save_pretrained(str(folder / "theirs"), save_embedding_layers=False)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids()).logits[:, -7:], wanted, rtol=0, atol=1e-5)
        for place in ("ours", "theirs"):
            again = read_model(folder / place).network().eval()(Inputs(ids()))
            torch.testing.assert_close(again, wanted, rtol=0, atol=1e-5)
