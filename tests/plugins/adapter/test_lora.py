"""Agreement with PEFT: equal logits and gradients, and adapter folders that both can read."""

import json
from pathlib import Path
from typing import Any

import adapters
import peft
import peft_folders
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from etude.errors import CheckpointError, ConfigError
from etude.formats.model import read_model
from etude.network.adapter import adapt, layers
from etude.plugins.adapter.lora import norms

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore:.*Conv1D")
families = pytest.mark.parametrize("family", peft_folders.FAMILIES)
TARGETS = {"gpt2": ["c_attn", "mlp.c_proj"], "llama": ["q_proj", "v_proj", "down_proj"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "all": {"target_modules": "all-linear"},
}


def config(family: str, **values: Any) -> peft.LoraConfig:
    given: dict[str, Any] = {"r": 3, "lora_alpha": 5, "target_modules": TARGETS[family]} | values
    return peft.LoraConfig(fan_in_fan_out=family == "gpt2", **given)


@families
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_agree_with_peft(family: str, variant: str, tmp_path: Path) -> None:
    theirs = peft_folders.saved_adapter(family, tmp_path, config(family, **VARIANTS[variant]))
    peft_folders.assert_same_pass(tmp_path, theirs)


@families
@pytest.mark.parametrize(
    "values",
    [{}, {"rslora": True}, {"dora": True}, {"targets": ["*"]}, {"targets": ["*.0.mixer.k"]}],
    ids=str,
)
def test_an_exported_adapter_loads_in_peft_and_can_be_read_back(
    family: str, values: dict[str, Any], tmp_path: Path
) -> None:
    lora = tiny.part("adapter", "lora", rank=3, alpha=5.0, **values)
    peft_folders.assert_round_trip(family, tmp_path, {"lora": lora})


def test_the_alpha_of_a_single_layer_is_kept(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    theirs = peft_folders.saved_adapter(
        "llama", tmp_path, config("llama", alpha_pattern={name: 11})
    )
    peft_folders.assert_same_logits(tmp_path, theirs)


@pytest.mark.parametrize(
    "values", [{"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"alpha_pattern": {".*0.*": 3}}]
)
def test_unsupported_peft_fields_are_errors_that_name_them(
    values: dict[str, Any], tmp_path: Path
) -> None:
    peft_folders.saved_adapter("llama", tmp_path, config("llama", **values))
    with pytest.raises(ConfigError, match=next(iter(values))):
        read_model(tmp_path / "adapter")


def test_an_unsupported_adapter_type_is_an_error_that_lists_the_supported_ones(
    tmp_path: Path,
) -> None:
    saved_adapter = peft_folders.saved_adapter
    saved_adapter("llama", tmp_path, peft.LoHaConfig(target_modules=["q_proj"]))
    with pytest.raises(ConfigError, match=r"unsupported type LOHA.\n.*LORA"):
        read_model(tmp_path / "adapter")


def test_an_unexpected_tensor_is_named(tmp_path: Path) -> None:
    peft_folders.saved_adapter("llama", tmp_path, config("llama"))
    [file] = (tmp_path / "adapter").glob("*.safetensors")
    save_file({**load_file(file), "base_model.model.lm_head.lora_C": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"Unexpected tensors in the adapter: lm_head.lora_C"):
        read_model(tmp_path / "adapter").network()


def test_an_adapter_without_the_name_of_its_base_is_an_error(tmp_path: Path) -> None:
    peft_folders.saved_adapter("llama", tmp_path, config("llama"))
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": None}))
    with pytest.raises(ConfigError, match="does not name a base model"):
        read_model(tmp_path / "adapter")


def test_a_damaged_config_is_an_error(tmp_path: Path) -> None:
    peft_folders.saved_adapter("llama", tmp_path, config("llama"))
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 3}))
    with pytest.raises(CheckpointError, match=r"adapter_config.json cannot be read"):
        read_model(tmp_path / "adapter")


@torch.no_grad()
def test_dora_sets_the_weight_norm_of_each_output() -> None:
    made = adapters.network("decoder_only", "dora")
    layer = made.stack.blocks[0].mixer.q
    magnitude = layer.magnitude.clone()
    tiny.assert_close(norms(layer.merge().weight), magnitude.abs())


@torch.no_grad()
def test_dropout_does_not_affect_the_base() -> None:
    made = tiny.network()
    adapt(made, {"lora": tiny.part("adapter", "lora", dropout=0.5)})
    layer = layers(made.train())[0]
    x = torch.randn(64, 16, dtype=torch.float64)
    assert torch.equal(layer(x), layer.base(x))  # `up` is 0
    adapters.randomise(made)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_dora_around_another_adapter_is_an_error() -> None:
    dora = {"lora": tiny.part("adapter", "lora", dora=True)}
    with pytest.raises(ConfigError, match="dora needs plain linear layers"):
        adapt(tiny.network(), adapters.choice("ia3") | dora)


@pytest.mark.parametrize("values", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"targets": []}])
def test_values_out_of_range_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        tiny.part("adapter", "lora", **values)
