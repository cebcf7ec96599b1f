from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from defaults import default

from etude.config.registry import build
from etude.data.token_rows import TokenRow
from etude.network.inputs import Inputs
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.electra import DRAWS, ElectraConfig, generator_config

VOCAB = tiny.BYTES.vocab
SPECIAL = len(VOCAB.special)


def electra(network: Any = None, seed: int = 0, **values: Any) -> Any:  # the plugin's class
    """An objective in float64, with weights that are not the initial ones."""
    config = tiny.stack("encoder_only", n_segments=2)
    torch.manual_seed(seed)
    made = tiny.objective(
        "electra",
        network or tiny.network(config, VOCAB),
        tools=tiny.tools(architecture=config),
        **values,
    ).double()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (*made.generator.parameters(), *made.detector.parameters()):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def row(n: int, ends: int = 1) -> TokenRow:
    ids = np.random.default_rng(n).integers(SPECIAL, VOCAB.size, n)
    ids[:ends] = VOCAB.bos
    return TokenRow(ids, np.ones(n, np.int64), 0.0)


def batch_of(made: Any, *lengths: int) -> Any:
    return made.collate([made.example(row(n), rng(0, TRAIN, n)) for n in lengths])


def test_the_loss_is_that_of_both_networks_row_by_row() -> None:
    made = electra(mask_ratio=0.4)
    batch = batch_of(made, 16, 7, 11)
    wanted, metrics = torch.zeros((), dtype=torch.float64), dict.fromkeys(("replaced", "found"), 0)
    draws, hidden, n_text = batch.draws.tolist(), batch.hidden, 0
    for i, n in enumerate((16, 7, 11)):
        given, ids, where = hidden.inputs.tokens[i, :n], hidden.ids[i, :n], hidden.where[i, :n]
        log_prob = made.generator(Inputs(given[None]))[0].log_softmax(-1)
        filled = ids.clone()
        nll = []
        for place in where.nonzero()[:, 0].tolist():
            nll.append(-log_prob[place, ids[place]])
            reached = log_prob[place].exp().cumsum(0)
            filled[place] = int((reached <= draws.pop(0) / DRAWS * reached[-1]).sum())
        logit = made.detector(made.network.states(Inputs(filled[None])))[0]
        replaced = filled != ids
        chance = torch.where(replaced, logit.sigmoid(), (-logit).sigmoid())
        wanted += (n - 1) * torch.stack(nll).mean() - 50.0 * chance[1:].log().sum()
        metrics["replaced"] += int(replaced.sum())
        metrics["found"] += int((replaced & (logit > 0)).sum())
        n_text += n - 1
    loss = made.loss(batch)
    torch.testing.assert_close(loss.total, wanted, rtol=1e-12, atol=0.0)
    assert {name: int(loss.metrics[name]) for name in metrics} == metrics
    assert made.count(batch) == n_text
    assert metrics["replaced"] > 0


def test_with_equal_mask_ratios_the_generator_loss_is_the_papers_mean() -> None:
    made = electra(mask_ratio=0.4)
    batch = batch_of(made, 11, 6, 16)  # 10, 5 and 15 tokens of text, 4, 2 and 6 of them hidden
    where = batch.hidden.where
    logits = made.generator(batch.hidden.inputs, where)
    wanted = F.cross_entropy(logits, batch.hidden.ids[where])
    tiny.assert_close(
        made.loss(batch).metrics["generator_loss"] / made.count(batch), wanted.detach()
    )


def test_the_loss_of_an_untrained_head_is_log_2_per_token() -> None:
    config = tiny.stack("encoder_only")
    given = tiny.tools(architecture=config)
    made = tiny.objective("electra", tiny.network(config, VOCAB), tools=given).double()
    batch = batch_of(made, 16, 9)
    found = made.loss(batch).metrics["discriminator_loss"] / made.count(batch)
    tiny.assert_close(found, torch.tensor(2.0, dtype=torch.float64).log())


def test_a_token_the_generator_restores_counts_as_original() -> None:
    """A generator that predicts only one token restores the positions of that token."""
    made = electra(mask_ratio=0.9)
    same = TokenRow(np.full(16, 200), np.ones(16, np.int64), 0.0)
    batch = made.collate([made.example(same, rng(0, TRAIN))])
    with torch.no_grad():
        assert made.loss(batch).metrics["replaced"] > 0
        made.generator.head = torch.nn.Linear(made.generator.dim, VOCAB.size).double()
        made.generator.head.weight.zero_()
        made.generator.head.bias.copy_(99.0 * (torch.arange(VOCAB.size) == 200))
        assert made.loss(batch).metrics["replaced"] == 0
    assert made.report({"found": 0.0, "replaced": 0.0})["recall"] == 0


def test_the_discriminators_loss_reaches_the_generator_only_through_the_token_table() -> None:
    """Ten times the weight does not change the generator's own gradients."""
    gradients: list[dict[str, torch.Tensor]] = []
    for weight in (50.0, 500.0):
        made = electra(discriminator_weight=weight)
        made.loss(batch_of(made, 16, 9)).total.backward()
        found = dict(made.generator.named_parameters())
        gradients.append({name: p.grad for name, p in found.items() if p.grad is not None})
        assert gradients[-1].keys() == found.keys()
    changed = {
        name for name in gradients[0] if not torch.equal(gradients[0][name], gradients[1][name])
    }
    assert changed == {"embedding.weight"}


def test_the_generator_is_narrower_and_shares_the_token_table() -> None:
    made = electra(generator_ratio=0.5)
    assert made.generator.embedding is made.network.embedding
    assert made.generator.head.out.weight is made.network.embedding.weight
    assert made.generator.dim == made.network.dim // 2
    config = tiny.stack("encoder_only", n_heads=4)
    for ratio, heads in ((0.25, 1), (0.5, 2), (0.1, 1), (1.0, 4)):
        small = generator_config(config, ratio)
        assert (small.n_heads, small.dim, small.table_dim) == (heads, 4 * heads, 16)
    assert generator_config(replace(config, embedding_dim=8), 0.5).table_dim == 8


@pytest.mark.parametrize("head", ["linear", "transform"])
@pytest.mark.parametrize("tie", [True, False])
def test_all_trained_weights_get_gradients_and_the_unused_head_is_frozen(
    head: str, tie: bool
) -> None:
    config = tiny.stack("encoder_only", head=head, tie=tie)
    given = tiny.tools(architecture=config)
    made = tiny.objective("electra", tiny.network(config, VOCAB), tools=given).double()
    made.loss(batch_of(made, 16)).total.backward()
    idle = {name for name, p in made.named_parameters() if not p.requires_grad}
    assert all(name.startswith("network.head.") for name in idle)
    assert ("network.head.out.weight" in idle) == (not tie)
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == (name in idle), name


def test_sampled_tokens_do_not_depend_on_the_other_rows() -> None:
    made = electra(mask_ratio=0.4)
    together, alone = batch_of(made, 16, 7), batch_of(made, 7)
    n = len(alone.draws)
    assert torch.equal(together.draws[-n:], alone.draws)
    logits = made.generator(together.hidden.inputs, together.hidden.where)
    own = made.generator(alone.hidden.inputs, alone.hidden.where)
    filled = made.fill(together, logits).tokens[1, :7]
    assert torch.equal(filled, made.fill(alone, own).tokens[0])


def test_a_row_of_special_tokens_has_no_loss() -> None:
    made = electra()
    blank = TokenRow(np.array([2, 3, 2, 3]), np.array([1, 1, 2, 2]), 0.0)
    batch = made.collate([made.example(blank, rng(0, TRAIN))])
    assert made.count(batch) == 0
    assert made.loss(batch).total == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generator_ratio": 0.0}, r"generator_ratio must be in \(0, 1\], got 0\.0"),
        ({"generator_ratio": 1.5}, r"generator_ratio must be in \(0, 1\], got 1\.5"),
        ({"discriminator_weight": 0.0}, r"discriminator_weight must be positive, got 0\.0"),
        ({"mask_ratio": 0.0}, r"mask_ratio must be in \(0, 1\), got 0\.0"),
    ],
)
def test_values_outside_their_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElectraConfig(**values)


def test_intra_document_numbers_the_documents_of_a_row() -> None:
    config = tiny.stack("encoder_only")
    given = tiny.tools(architecture=config, intra_document=True)
    made = build(default("objective/electra"), tiny.network(config, VOCAB), given)
    packed = TokenRow(row(12).tokens, np.repeat([1, 2], 6), 0.0)
    batch = made.collate([made.example(packed, rng(0, TRAIN))])
    assert batch.hidden.inputs.documents[0].tolist() == [1] * 6 + [2] * 6


def test_shown_texts_mark_the_tokens_classified_as_replaced() -> None:
    made = electra()
    with torch.no_grad():
        made.detector.out.weight.zero_()
        made.detector.out.bias.fill_(1.0)
        (everything,) = made.show([row(9)])
        made.detector.out.bias.fill_(-1.0)
        (nothing,) = made.show([row(9)])
    assert everything.count("[[") == 8  # but for bos
    assert "[[" not in nothing


@pytest.mark.slow
def test_both_losses_fall(tmp_path: Path) -> None:
    config = tiny.experiment("electra", tmp_path, trainer={"max_steps": 60, "val_every": 60})
    config = replace(config, optimizer=default("optimizer/adamw", lr=1e-2))
    lines = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    assert lines[-1]["generator_loss"] < lines[0]["generator_loss"] - 1
    assert lines[-1]["discriminator_loss"] < lines[0]["discriminator_loss"] - 0.1


def test_experts_of_both_networks_are_balanced(tmp_path: Path) -> None:
    mlp = tiny.part("architecture/mlp", "moe", n_experts=4, multiple_of=4, bias_rate=0.05)
    network = tiny.stack("encoder_only", n_layers=1, mlp=mlp)
    config = tiny.experiment("electra", tmp_path, architecture=network, trainer={"max_steps": 2})
    made = tiny.training_parts(config)
    lines = tiny.fit(config, made, tmp_path)
    for name in ("stack.blocks.0.mlp", "generator.stack.blocks.0.mlp"):
        assert lines[-1][f"{name}/max_load"] >= 1
    networks: list[Any] = [made.objective.network, made.objective.generator]  # type: ignore[attr-defined]
    for held in networks:
        assert held.stack.blocks[0].mlp.selection_bias.any()
