"""Every PEFT folder that is written works in PEFT over the base that it names."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import families
import peft
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

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
KINDS = [
    "lora",
    "rslora",
    "dora",
    "dora_all",
    "ia3",
    "houlsby",
    "prefix",
    "prompt_tuning",
    "freeze",
]


def in_peft(folder: Path, auto: Any) -> Any:
    """The PEFT model of an adapter folder, over the base that it names."""
    fields = json.loads((folder / "adapter_config.json").read_text())
    base = auto.from_pretrained(fields["base_model_name_or_path"])
    return peft.PeftModel.from_pretrained(base, str(folder)).eval()


@pytest.mark.parametrize("family", AUTO)
@pytest.mark.parametrize("kind", KINDS)
def test_a_peft_folder_has_the_same_logits_over_the_base_that_it_names(
    family: str, kind: str, tmp_path: Path
) -> None:
    objective = families.objective(family, "reward")  # any that takes every family
    plain = families.model(objective, tmp_path)
    weights = {name: t.float() for name, t in objective.network.state_dict().items()}
    write_model(plain, weights, tmp_path / "base")
    base = read_model(tmp_path / "base")
    network = base.network()
    torch.manual_seed(0)
    adapter = adapters.choice(kind.removesuffix("_all"))
    if kind == "dora_all":
        adapter["lora"].targets = ["*"]
    if (family, kind) == ("mixtral", "ia3"):
        adapter["ia3"].inputs = ["*.mlp.experts.*.down"]
    adapt(network, adapter)
    adapters.randomise(network)
    model = replace(base, adapter=adapter, base=str(base.folder))
    names = adapter_tensors(network)
    note = write_adapter(model, network.state_dict(), names, tmp_path / "adapter")
    assert (note is None) == (tmp_path / "adapter" / "adapter_config.json").exists()
    if note is not None:
        pytest.skip(note)
    ids = tiny.tokens(2, 7, vocab=tiny.BYTES.vocab)
    theirs = in_peft(tmp_path / "adapter", AUTO[family])
    extra = {"decoder_input_ids": ids} if family in families.BOTH else {}
    with torch.no_grad():
        found = theirs(input_ids=ids, **extra).logits[:, -7:]
        wanted = network.eval()(Inputs(ids, source=Inputs(ids) if extra else None))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
