"""Agreement with PEFT: equal logits and gradients, and adapter folders that both can read."""

from pathlib import Path
from typing import Any

import peft
import peft_folders
import pytest
import tiny

from etude.formats.peft import peft_export
from etude.network.adapter import adapt, adapter_tensors

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore:.*Conv1D")
families = pytest.mark.parametrize("family", peft_folders.FAMILIES)
TARGETS = {
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "llama": (["k_proj", "v_proj", "down_proj"], ["down_proj"]),
}


@families
def test_logits_and_gradients_agree_with_peft(family: str, tmp_path: Path) -> None:
    targets, before = TARGETS[family]
    config = peft.IA3Config(
        target_modules=targets, feedforward_modules=before, fan_in_fan_out=family == "gpt2"
    )
    peft_folders.assert_same_pass(tmp_path, peft_folders.saved_adapter(family, tmp_path, config))


@families
@pytest.mark.parametrize("values", [{}, {"inputs": []}, {"outputs": ["*.0.*.v"]}], ids=str)
def test_an_exported_adapter_loads_in_peft_and_can_be_read_back(
    family: str, values: dict[str, Any], tmp_path: Path
) -> None:
    ia3 = tiny.part("adapter", "ia3", **values)
    peft_folders.assert_round_trip(family, tmp_path, {"ia3": ia3})


def test_an_adapter_that_peft_cannot_express_is_not_exported() -> None:
    architecture = tiny.stack(mlp="swiglu", norm="rmsnorm", position="rope")
    both = {"ia3": tiny.part("adapter", "ia3", outputs=["*.v"], inputs=["*.v"])}
    made = tiny.network(architecture)
    adapt(made, both)
    assert len(adapter_tensors(made)) == 4
    reason = peft_export(architecture, tiny.VOCAB, both, made.state_dict())
    assert isinstance(reason, str)
    assert "PEFT cannot adapt model.layers.0.self_attn.v_proj" in reason


def test_a_config_without_targets_is_an_error() -> None:
    with pytest.raises(ValueError, match="both empty"):
        tiny.part("adapter", "ia3", outputs=[], inputs=[])
