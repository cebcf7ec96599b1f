"""`tok(text)` of an exported tokenizer feeds transformers what training fed the network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import foreign
import numpy as np
import pytest
import tiny
import tokenizers
from tokenizers import processors
from transformers import AutoTokenizer

from etude.data.chat_template import exchange
from etude.data.token_rows import TokenRow
from etude.data.tokenizer import Tokenizer
from etude.formats.frame import save_tokenizer
from etude.formats.model_folder import write_model
from etude.objective.objective import Objective
from etude.plugins.objective.electra import Electra
from etude.plugins.objective.mlm import Mlm
from etude.plugins.objective.reward import RewardModel, encode_record
from etude.records import Feedback, Pair

CASES = [
    *(
        (family, objective)
        for family in families.DECODERS
        for objective in ("clm", "fim", "prefix_lm")
    ),
    *((family, objective) for family in families.ENCODERS for objective in ("mlm", "electra")),
    *((family, "prefix_lm") for family in families.BOTH),
]
TEXT = "a text of some length"


def exported(objective: Any, folder: Path) -> Any:
    """The tokenizer that transformers loads from a model folder."""
    is_reward = isinstance(objective, RewardModel)
    heads = objective.head.state_dict() if is_reward else {}
    extra = {f"head.{name}": tensor for name, tensor in heads.items()}
    weights = objective.network.state_dict()
    write_model(families.model(objective, folder), weights, folder / "model", None, extra)
    return AutoTokenizer.from_pretrained(folder / "model")


def made(family: str, name: str) -> Any:
    """An objective on a small network of a family."""
    return families.objective(family, name, **({"fim_rate": 0.0} if name == "fim" else {}))


def row(objective: Objective[Any, Any]) -> TokenRow:
    """A document, as the data file holds it."""
    tokenizer = objective.tools.tokenizer
    ids = tokenizer.vocab.document(tokenizer.encode(TEXT).tolist())
    return TokenRow(np.array(ids), np.ones(len(ids), int), float(len(TEXT)))


def read_row(objective: Any) -> list[int]:
    """What a network reads of a document, before tokens are masked."""
    example = objective.example(row(objective), np.random.default_rng(3))
    if isinstance(objective, Electra):
        return example.row.original.tolist()
    if isinstance(objective, Mlm):
        return example.original.tolist()
    inputs = objective.collate([example]).targets.inputs
    return (inputs.source or inputs).tokens[0].tolist()


@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_text_is_framed_as_in_training(family: str, name: str, tmp_path: Path) -> None:
    objective = made(family, name)
    theirs = exported(objective, tmp_path)
    read = read_row(objective)
    special = objective.tools.tokenizer.vocab.special
    text = tiny.BYTES.decode([i for i in read if i not in special])
    assert theirs(text)["input_ids"] == read
    assert theirs.model_max_length == (objective.tools.architecture.position.max_positions or 64)


@pytest.mark.parametrize("family", families.BOTH)
def test_both_sides_of_a_pair_are_framed_as_in_training(family: str, tmp_path: Path) -> None:
    objective = made(family, "seq2seq")
    theirs = exported(objective, tmp_path)
    example = objective.example(Pair("a question", "its answer"), np.random.default_rng(0))
    assert theirs("a question")["input_ids"] == example.source
    assert theirs("its answer")["input_ids"] == example.target


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_two_segments_are_framed_as_in_training(family: str, tmp_path: Path) -> None:
    objective = made(family, "sop")
    theirs = exported(objective, tmp_path)
    [pair] = objective.example(row(objective), np.random.default_rng(3))
    text = ~np.isin(pair.original, [*objective.tools.tokenizer.vocab.special])
    sides = [tiny.BYTES.decode(pair.original[text & (pair.segments == i)]) for i in (0, 1)]
    encoded = theirs(*sides)
    assert encoded["input_ids"] == pair.original.tolist()
    assert encoded["token_type_ids"] == pair.segments.tolist()


@pytest.mark.parametrize("family", [*families.DECODERS, *families.ENCODERS])
def test_a_prompt_and_its_completion_are_framed_as_for_a_reward_model(
    family: str, tmp_path: Path
) -> None:
    objective = made(family, "reward")
    theirs = exported(objective, tmp_path)
    batch = objective.collate(
        [encode_record(Feedback("a question", "its answer", 1.0), tiny.BYTES)]
    )
    encoded = theirs("a question", "its answer")
    assert encoded["input_ids"] == batch.inputs.tokens[0].tolist()
    if batch.inputs.segments is not None:
        assert encoded["token_type_ids"] == batch.inputs.segments[0].tolist()


def test_a_text_is_truncated_where_training_sequences_ended(tmp_path: Path) -> None:
    theirs = exported(made("bloom", "clm"), tmp_path)
    assert len(theirs("a" * 99, truncation=True)["input_ids"]) == 64


@pytest.mark.parametrize("family", ["roberta", "bert"])
def test_a_foreign_tokenizer_frames_two_texts_as_a_reward_model_read_them(
    family: str, tmp_path: Path
) -> None:
    objective = made(family, "reward")
    roles = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    foreign.save_tokenizer(tmp_path, ["<pad>", "<s>", "</s>"], "<s> $A </s>", **roles)
    inner = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    model = replace(families.model(objective, tmp_path), tokenizer=tokenizer)
    save_tokenizer(model, tmp_path / "model", scores=True)
    network = tiny.network(objective.tools.architecture, tokenizer.vocab)
    read, _ = network.read([exchange(tokenizer, "a question", "its answer")])
    theirs = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert theirs("a question", "its answer")["input_ids"] == read.tokens[0].tolist()
    assert (
        theirs("a question")["input_ids"]
        == AutoTokenizer.from_pretrained(tmp_path)("a question")["input_ids"]
    )
