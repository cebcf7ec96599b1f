"""Small model folders as transformers saves them: a tokenizer that is not ours, and its model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import parity
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

TEXTS = (
    "The capital of Italy is Rome, and the capital of France is Paris.",
    "A model reads a text as its own library reads it: no token more, no token less.",
    "Old folders are read too.",
    "é",
)
LLAMA = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2,
    "max_position_embeddings": 256,
}  # fmt: skip
BERT = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 256,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 4},
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "mixtral": LLAMA,
    "bert": BERT,
    "roberta": BERT,
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 4},
    "bart": {
        "d_model": 16, "max_position_embeddings": 256,
        **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": 24 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    },
}  # fmt: skip
"""Sizes of a small model of each family."""


def save_tokenizer(
    folder: Path, specials: Sequence[str], around: str | None = None, **roles: Any
) -> PreTrainedTokenizerFast:
    """Saves a byte-level tokenizer; `around` is its post-processor, such as "<s> $A"."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[*specials], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(TEXTS, trainer)
    if around is not None:
        used = [(one, inner.token_to_id(one)) for one in specials if one in around]
        inner.post_processor = processors.TemplateProcessing(around, None, used)
    saved = PreTrainedTokenizerFast(tokenizer_object=inner, **roles)
    saved.save_pretrained(folder)
    return saved


def save_model(
    folder: Path, family: str, tokenizer: Any, auto: Any = AutoModelForCausalLM, **fields: Any
) -> Any:  # transformers' models are dynamically typed
    """Saves a small model with random weights beside its tokenizer; returns the model."""
    roles = ("bos", "eos", "pad")
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in roles}
    values = {"vocab_size": len(tokenizer), **ids, **SIZES[family], **fields}
    theirs: Any = auto.from_config(AutoConfig.for_model(family, **values))
    parity.randomise(theirs)
    theirs.save_pretrained(folder)
    return theirs
