"""Supervised fine-tuning: the loss is on the answers only, however they are collated."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from etude.config.compatibility import check
from etude.data import chat_template
from etude.data.tokenizer import Tokenizer
from etude.errors import CompositionError
from etude.network.inputs import Inputs
from etude.plugins.objective._sft.conversations import TrainingSpan, TrainOn
from etude.plugins.objective._sft.neftune import neftune
from etude.plugins.objective.sft import Sft
from etude.records import Chat, Message

PLAIN = tiny.BYTES.with_template(chat_template.DEFAULT, chat_template.LITERALS)
TEXTS = [("a?", "bb", "c", "ddd"), ("what", "e"), ("f", "g" * 9, "hh", "i"), ("jj", "k")]
CHATS = [
    Chat(tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)))
    for texts in TEXTS
]
DRAW = np.random.default_rng(0)


def sft(architecture: str = "decoder_only", **values: Any) -> Sft:
    given = {"position": "rope"} | values.pop("stack", {})
    config = tiny.stack(architecture, **given)
    tools = tiny.tools(PLAIN, architecture=config, seq_len=values.pop("seq_len", 96))
    return tiny.objective("sft", tiny.network(config, PLAIN.vocab), tools=tools, **values).double()


def batch_of(objective: Sft, chats: list[Chat]) -> Any:
    return objective.collate([objective.example(one, DRAW) for one in chats])


def answer_nll(objective: Sft, one: Chat) -> tuple[torch.Tensor, int]:
    """Summed NLL of the answer tokens, each given all tokens before it, and their number."""
    found = chat_template.conversation(PLAIN, one.messages)
    logits = objective.network(Inputs(torch.tensor(found.ids)[None]))[0]
    total, n = torch.zeros(()), 0
    for i in np.flatnonzero(found.turns):
        total = total - logits[i - 1].log_softmax(-1)[found.ids[i]]
        n += 1
    return total, n


def test_the_loss_is_the_nll_of_the_answers_and_their_end_tokens() -> None:
    objective = sft()
    batch = batch_of(objective, CHATS)
    loss = objective.loss(batch)
    alone = [answer_nll(objective, one) for one in CHATS]
    tiny.assert_close(loss.total, torch.stack([total for total, _ in alone]).sum())
    answers = [text for texts in TEXTS for text in texts[1::2]]
    assert objective.count(batch) == sum(len(text) + 1 for text in answers)
    assert objective.count(batch) == sum(n for _, n in alone)


@pytest.mark.parametrize("train_on", list(TrainOn))
@pytest.mark.parametrize("mixer", ["attention", "retention"])
def test_packing_and_padding_do_not_change_loss_or_gradient(mixer: str, train_on: TrainOn) -> None:
    objective = sft(stack={"mixer": mixer}, train_on=train_on)
    parts = [part for one in CHATS for part in objective.example(one, DRAW)]
    layouts: list[list[list[TrainingSpan]]] = [
        [[part] for part in parts],
        [parts],
        [[parts[3], parts[0]], [parts[2], parts[1]]],
    ]
    sums: list[torch.Tensor] = []
    counts: set[float] = set()
    for rows in layouts:
        batch = objective.collate(rows)
        objective.zero_grad()
        loss = objective.loss(batch)
        loss.total.backward()
        grads = [p.grad.flatten() for p in objective.parameters() if p.grad is not None]
        sums.append(torch.cat([loss.total.detach()[None], *grads]))
        counts.add(objective.count(batch))
    assert len(counts) == 1
    for other in sums[1:]:
        torch.testing.assert_close(other, sums[0], rtol=1e-12, atol=1e-12)


def test_with_a_source_the_loss_is_that_of_each_answer_separately() -> None:
    objective = sft("encoder_decoder")
    batch = batch_of(objective, CHATS)
    assert len(batch.targets.ids) == sum(len(texts) // 2 for texts in TEXTS)
    total = torch.zeros(())
    for one in CHATS:
        for turn in range(1, len(one.messages), 2):
            source = chat_template.prompt(PLAIN, one.messages[:turn])
            answer = [*PLAIN.encode(one.messages[turn].content).tolist(), PLAIN.vocab.turn_end]
            given = Inputs(
                torch.tensor([[PLAIN.vocab.pad, *answer[:-1]]]),
                source=Inputs(torch.tensor([source])),
            )
            logits = objective.network(given)[0]
            total = total + F.cross_entropy(logits, torch.tensor(answer), reduction="sum")
    tiny.assert_close(objective.loss(batch).total, total)


def test_settings_without_effect_are_refused_for_networks_with_a_source() -> None:
    for values, key in (({"train_on": TrainOn.everything}, "train_on"), ({"pack": True}, "pack")):
        config = tiny.part("objective", "sft", **values)
        with pytest.raises(ValueError, match=f"objective.{key}="):
            config.check(tiny.stack("encoder_decoder"))
        config.check(tiny.stack())


def test_the_composition_error_gives_the_reason(tmp_path: Path) -> None:
    config = tiny.experiment("sft", tmp_path, architecture=tiny.stack("encoder_decoder"), pack=True)
    with pytest.raises(CompositionError, match=r"objective=sft cannot train .*a separate target"):
        check(config)


def test_neftune_noise_is_uniform_within_the_papers_bound_and_only_in_training() -> None:
    torch.manual_seed(0)
    states, ids = torch.zeros(3, 400, 64), torch.ones(3, 400, dtype=torch.long)
    ids[1, 100:] = 0
    noise = neftune(states, ids, alpha=5.0, pad=0)
    for row, length in ((0, 400), (1, 100)):
        bound = 5.0 / math.sqrt(length * 64)
        assert noise[row].abs().max() == pytest.approx(bound, rel=1e-3)
        assert noise[row].std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    objective, without = sft(neftune_alpha=5.0), sft()
    batch = batch_of(objective, CHATS)
    tiny.assert_close(objective.eval().loss(batch).total, without.eval().loss(batch).total)
    assert objective.train().loss(batch).total != without.train().loss(batch).total


@pytest.mark.slow
def test_a_network_that_memorised_its_data_reports_high_accuracy(tmp_path: Path) -> None:
    """A network that has memorised its conversations answers all of them."""
    config = tiny.experiment("sft", tmp_path, trainer={"max_steps": 120, "global_batch": 16})
    wide = tiny.stack(dim=64, n_layers=2, position="rope")
    config = replace(config, architecture=wide, optimizer=tiny.part("optimizer", "adamw", lr=1e-2))
    made = tiny.training_parts(replace(config, trainer=replace(config.trainer, precision="32")))
    tiny.fit(config, made, tmp_path / "run")
    seen = replace(made.validation, samples=made.train, n_samples=16)
    measured, unseen = seen.measure(made.objective), made.validation.measure(made.objective)
    assert measured["val/perplexity"] == pytest.approx(math.exp(measured["val/loss"]))
    assert measured["val/exact_match"] > 0.9 > 0.2 > unseen["val/exact_match"]
    assert measured["val/token_accuracy"] > 0.9 > unseen["val/token_accuracy"]


def test_the_template_of_the_run_is_in_its_tokenizer(tmp_path: Path) -> None:
    config = tiny.experiment("sft", tmp_path)
    config = replace(config, template=tiny.part("template", "chatml"))
    made = tiny.training_parts(config)
    assert "<|im_start|>" in (made.objective.tools.tokenizer.template or "")
    batch = made.objective.collate([made.train[0]])
    spelled = made.objective.tools.tokenizer.decode(
        batch.targets.inputs.tokens[0].tolist(), skip_special=False
    )
    assert spelled.startswith("<|im_start|>user\n")
    made.objective.tools.tokenizer.save(tmp_path / "tokenizer")
    assert (
        Tokenizer.load(tmp_path / "tokenizer").template == made.objective.tools.tokenizer.template
    )
