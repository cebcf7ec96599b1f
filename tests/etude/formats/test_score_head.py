"""A reward model's folder gives the same scores in transformers, or it says why it does not."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import chains
import families
import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from etude.data.chat_template import DEFAULT, LITERALS
from etude.files.manifest import MANIFEST
from etude.formats.model import read_model
from etude.formats.model_folder import write_model
from etude.plugins.objective.reward import encode_record
from etude.records import Feedback
from etude.rl.reward_model import read_reward_model

TEXTS = [("a question", "its answer"), ("why?", "because it is so, and no other way")]


def reward_model(family: str, folder: Path, bias: float = 0.0) -> tuple[Any, str | None]:
    """A reward objective with a random head, written to `model`; and the note of the writer."""
    objective = families.objective(family, "reward")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        objective.head.weight.copy_(0.3 * torch.randn(1, 16, generator=generator))
        objective.head.bias.fill_(bias)
    extra = {f"head.{name}": tensor for name, tensor in objective.head.state_dict().items()}
    model = families.model(objective, folder)
    weights = {name: tensor.float() for name, tensor in objective.network.state_dict().items()}
    return objective.float(), write_model(model, weights, folder / "model", None, extra)


def their_scores(folder: Path) -> torch.Tensor:
    """What transformers scores the texts with, as a padded batch."""
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return theirs(**encoded).logits[:, 0]


def our_scores(objective: Any) -> torch.Tensor:
    records = [encode_record(Feedback(*texts, 1.0), tiny.BYTES) for texts in TEXTS]
    with torch.no_grad():
        return objective.scores(objective.collate(records))


@pytest.mark.parametrize("family", [*families.DECODERS, "bert", "roberta", "albert"])
def test_transformers_gives_the_same_scores(family: str, tmp_path: Path) -> None:
    objective, note = reward_model(family, tmp_path)
    assert note is None
    torch.testing.assert_close(
        their_scores(tmp_path / "model"), our_scores(objective), rtol=0, atol=1e-5
    )


def test_an_encoder_keeps_the_bias_of_its_scores(tmp_path: Path) -> None:
    objective, _ = reward_model("bert", tmp_path, bias=2.5)
    torch.testing.assert_close(
        their_scores(tmp_path / "model"), our_scores(objective), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("family", "bias", "reason"),
    [
        ("llama", 0.5, r"transformers cannot read the scores of model/: its score head has a bias"),
        ("t5", 0.0, "the class that transformers has for this family computes another score"),
    ],
)
def test_scores_that_transformers_cannot_compute_are_not_exported_and_the_reason_is_recorded(
    family: str, bias: float, reason: str, tmp_path: Path
) -> None:
    _, note = reward_model(family, tmp_path, bias)
    assert note is not None
    assert re.search(reason, note)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert not config["architectures"][0].endswith("ForSequenceClassification")
    assert json.loads((tmp_path / "model" / MANIFEST).read_text())["facts"]["note"] == note


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_the_network_of_an_exported_reward_model_is_read_back(family: str, tmp_path: Path) -> None:
    objective, _ = reward_model(family, tmp_path)
    again = read_model(tmp_path / "model").network()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, objective.network.state_dict()[name]), name


def test_a_tokenizer_without_a_padding_token_pads_texts_to_score(tmp_path: Path) -> None:
    run = chains.run(tmp_path, "run", "reward", chains.llama(tmp_path / "llama"), "")
    theirs = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    with torch.no_grad():
        encoded = tokenizer(["why", "a"], ["so", "bcd"], padding=True, return_tensors="pt")
        found = theirs(**encoded).logits[:, 0]
    wanted = read_reward_model(run)(["why", "a"], ["so", "bcd"])
    assert tokenizer.pad_token == "<unk>"
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_rendered_conversation_has_the_score_that_transformers_gives_it(tmp_path: Path) -> None:
    objective, _ = reward_model("llama", tmp_path)
    tokenizer = tiny.BYTES.with_template(DEFAULT, LITERALS)
    model = replace(families.model(objective, tmp_path), tokenizer=tokenizer)
    extra = {f"head.{name}": tensor for name, tensor in objective.head.state_dict().items()}
    write_model(model, objective.network.state_dict(), tmp_path / "chats", None, extra)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "chats").eval()
    turns = [
        {"role": role, "content": t}
        for role, t in zip(("user", "assistant"), TEXTS[0], strict=True)
    ]
    ids = AutoTokenizer.from_pretrained(tmp_path / "chats").apply_chat_template(
        turns, return_tensors="pt", return_dict=True
    )
    record = encode_record(Feedback(*TEXTS[0], 1.0), tokenizer)
    with torch.no_grad():
        wanted = objective.scores(objective.collate([record]))
        torch.testing.assert_close(theirs(**ids).logits[:, 0], wanted, rtol=0, atol=1e-5)
