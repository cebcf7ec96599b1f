"""Makes an exported tokenizer feed transformers what training fed the network.

`tok(text)` then writes the special tokens that surrounded a text in training, and truncates it
where the network's positions end, or the training sequences did.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from etude.capability import Capability
from etude.config.capabilities import capabilities_of, max_positions_of
from etude.config.schema.blocks import StackConfig
from etude.data.special_tokens import tokens_between, write_around
from etude.data.tokenizer_files import CONFIG
from etude.files.json_file import read_json
from etude.formats.model import Model
from etude.formats.score_head import pad_of_scores

TEXT = -1
"""Stands for a text among ids."""


@dataclass(frozen=True)
class Frame:
    """The ids before, between and after one text or two, as the network reads them."""

    opening: tuple[int, ...]
    between: tuple[int, ...]
    closing: tuple[int, ...]


def frame_of(model: Model, *, scores: bool = False) -> Frame:
    """Returns the frame of a text; with `scores`, of a prompt and its completion, as one or two."""
    vocab = model.tokenizer.vocab
    provides = capabilities_of(model.architecture)
    around = None if model.objective is None else model.objective.task.around
    if around is not None:
        first, last = (vars(vocab)[role] for role in around)
        return Frame((first,), (last,), (last,))
    if Capability.SOURCE_TARGET in provides:
        ids = vocab.source([TEXT])
    elif Capability.BOTH_SIDES in provides:
        ids = vocab.document([TEXT])
    elif scores and model.tokenizer.template is None:
        return Frame(vocab.opening, (), (vocab.eos,))
    else:
        ids = vocab.prompt([TEXT])
    place = ids.index(TEXT)
    opening, closing = tuple(ids[:place]), tuple(ids[place + 1 :])
    return Frame(opening, closing, closing)


def save_tokenizer(model: Model, folder: Path, *, scores: bool = False) -> None:
    """Writes the tokenizer of a model for transformers' AutoTokenizer, with its frame."""
    model.tokenizer.save(folder)
    vocab = model.tokenizer.vocab
    frame = frame_of(model, scores=scores)
    inner = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if frame != Frame(vocab.opening, tokens_between(inner), vocab.closing):
        sides = (frame.opening, frame.closing, frame.between)
        write_around(inner, *([str(inner.id_to_token(i)) for i in ids] for ids in sides))
        (folder / "tokenizer.json").write_text(inner.to_str(pretty=True), encoding="utf-8")
    config: dict[str, Any] = read_json(folder / CONFIG)
    longest = max_positions_of(model.architecture) or model.seq_len
    config |= {} if longest is None else {"model_max_length": longest}
    if scores and (pad := pad_of_scores(vocab)) is not None:
        config["pad_token"] = model.tokenizer.pieces([pad])[0]
    stack = model.architecture
    if isinstance(stack, StackConfig) and stack.n_segments > 1:
        config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
