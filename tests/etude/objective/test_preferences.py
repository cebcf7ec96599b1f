"""Laws of every objective on pairs: the rest of the batch and the padding have no effect."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pairs
import pytest
import tiny
import torch
from tool_chats import write_conversations

from etude.errors import DataError
from etude.objective.batches import COMPLETIONS_CUT, PROMPTS_CUT, PreferenceExample
from etude.objective.log_probs import sequence_log_prob
from etude.objective.randomness import TRAIN, rng
from etude.records import Preference

OBJECTIVES = [name for name in tiny.PREFERENCES if name != "kto"]
STACKS = ["decoder_only", "encoder_decoder"]


def trained_objective(name: str, architecture: str = "decoder_only", **config: Any) -> Any:
    """Returns an objective whose policy differs from its reference."""
    network = tiny.network(tiny.stack(architecture), vocab=tiny.BYTES.vocab)
    made = tiny.objective(name, network, **config)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.network.parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
            parameter.add_(0.05 * noise)
    return made


@pytest.mark.parametrize("name", ["dpo", "kto", "reward"])
def test_conversations_are_compared_and_what_the_template_leaves_out_of_them_is_counted(
    name: str, tmp_path: Path
) -> None:
    config = tiny.experiment(name, tmp_path)
    file = write_conversations(tmp_path / "rows.jsonl")
    data = replace(config.data, path=str(file), seq_len=96)
    config = replace(config, data=data, template=tiny.part("template", "plain"))
    made = tiny.training_parts(
        replace(config, architecture=tiny.stack(n_layers=1, position="rope"))
    )
    objective: Any = made.objective
    example = objective.example(made.train[0], rng(0, TRAIN))
    prompt = example.matched[0] if name == "kto" else example.prompt
    text = objective.tools.tokenizer.decode(prompt, skip_special=False)
    roles = [part.partition("\n")[0] for part in text.split("<turn_start>")]
    assert roles == ["<bos>", "system", "user", "assistant", "user", "assistant"]
    assert objective.lost == {"the chat template does not write the tools": 30}
    held_out = made.validation.samples[0]
    assert objective.show([held_out])[0].startswith(str(held_out.prompt))
    loss = objective.loss(objective.collate([example])).total.detach()
    assert float(loss) == pytest.approx(0.5 if name == "kto" else math.log(2))


@pytest.mark.parametrize("architecture", STACKS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_of_a_pair_does_not_depend_on_the_rest_of_the_batch(
    name: str, architecture: str
) -> None:
    """So neither padding nor micro-batches change the loss."""
    made = trained_objective(name, architecture)
    together = made.loss(made.collate(pairs.PAIRS))
    alone = [made.loss(made.collate([pair])) for pair in pairs.PAIRS]
    tiny.assert_close(together.total, sum(one.total for one in alone))  # type: ignore[arg-type]
    for key, value in together.metrics.items():
        tiny.assert_close(
            value.double(), torch.stack([one.metrics[key] for one in alone]).sum().double()
        )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_left_padding_does_not_change_the_loss(name: str) -> None:
    from dataclasses import replace

    from etude.network.inputs import Inputs, Targets

    def padded(targets: Targets) -> Targets:
        def left(x: torch.Tensor, value: Any) -> torch.Tensor:
            return torch.nn.functional.pad(x, (3, 0), value=value)

        documents = targets.inputs.documents
        if documents is None:
            documents = torch.ones_like(targets.inputs.tokens)
        inputs = Inputs(left(targets.inputs.tokens, tiny.BYTES.vocab.pad), left(documents, 0))
        return Targets(inputs, left(targets.ids, 0), left(targets.where, False))

    made = trained_objective(name)
    batch = made.collate(pairs.PAIRS)
    shifted = replace(batch, chosen=padded(batch.chosen), rejected=padded(batch.rejected))
    tiny.assert_close(made.loss(shifted).total, made.loss(batch).total)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_the_tokens_of_completions_count_for_any_prompt_length(name: str) -> None:
    """Metrics are compared with sequence log-probabilities of the network."""
    made = trained_objective(name)
    prompts = [[2, *range(200, 200 + n)] for n in (0, 1, 6)]
    for prompt in prompts:
        pair = PreferenceExample(prompt, [202, 203, 3], [204, 3])
        batch = made.collate([pair])
        assert [int(side.where.sum()) for side in (batch.chosen, batch.rejected)] == [3, 2]
        rows = (
            completion_log_prob(made.network, prompt, pair.chosen),
            completion_log_prob(made.network, prompt, pair.rejected),
        )
        loss = made.loss(batch)
        tiny.assert_close(loss.metrics["chosen_nll"], -rows[0] / 3)
        assert bool(loss.metrics["policy_accuracy"]) == bool(rows[0] > rows[1])


def completion_log_prob(network: Any, prompt: Any, completion: Any) -> torch.Tensor:
    with torch.no_grad():
        return sequence_log_prob(network, network.answer([(prompt, completion)]))[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_raises_the_chosen_and_lowers_the_rejected_completion(name: str) -> None:
    made = trained_objective(name, nll_weight=0.0)
    policy = torch.tensor([[-3.0], [-3.5]], dtype=torch.float64, requires_grad=True)
    reference = None if made.reference is None else torch.tensor([[-3.0], [-3.0]]).double()
    losses, metrics = made.pair_losses(policy, reference, torch.tensor([[4], [4]]))
    losses.sum().backward()
    assert policy.grad is not None
    assert policy.grad[0] < 0 < policy.grad[1]
    assert metrics["accuracy"] == metrics["policy_accuracy"] == 1
    assert metrics["margin"] == metrics["chosen_reward"] - metrics["rejected_reward"] > 0


def test_accuracies_differ_where_the_reference_preferred_the_rejected_one() -> None:
    made = tiny.objective("dpo")
    reference = torch.tensor([[-9.0], [-5.0]])
    _, metrics = made.pair_losses(
        torch.tensor([[-8.0], [-5.5]]), reference, torch.tensor([[2], [2]])
    )
    assert metrics["accuracy"] == 1
    assert metrics["policy_accuracy"] == 0


def test_pairs_with_identical_texts_or_ids_are_dropped_and_counted() -> None:
    made = tiny.objective("dpo")
    long = "x" * 40  # the same after truncation to 16 tokens
    records = [Preference("a", "b", "c"), Preference("a", f"{long}b", f"{long}c")]
    kept = made.select_samples(records)
    assert [kept[i] for i in range(len(kept))] == records[:1]
    assert made.lost == {"both completions have the same tokens": 1}
    with pytest.raises(DataError, match="No sample is left"):
        made.select_samples(records[1:])


@pytest.mark.parametrize("name", tiny.PREFERENCES)
def test_the_prompt_is_kept_next_to_an_answer_of_seq_len_tokens_and_cuts_are_counted(
    name: str,
) -> None:
    made = tiny.objective(name)
    kept = made.select_samples(
        [
            Preference("abc?", "x" * 16, "y"),
            Preference("a" * 20, "b", "c"),
            Preference("a", "b", "c"),
        ]
    )
    made.count_cuts(kept)
    n_sides = 2 if name == "kto" else 1
    assert made.lost == {COMPLETIONS_CUT: 1, PROMPTS_CUT: n_sides}
    batch = made.collate([made.example(kept[0], rng(0, TRAIN))])
    chosen = batch.matched if name == "kto" else batch.chosen
    ids = chosen.inputs.tokens[0].tolist()
    assert tiny.BYTES.decode(ids) == "abc?" + "x" * 11
    assert chosen.ids[0, -1] == ids[-1]  # not eos


@pytest.mark.parametrize("adapter", [None, "lora", "bottleneck"])
@pytest.mark.parametrize("name", tiny.PREFERENCES)
def test_at_the_first_step_all_log_ratios_are_0_whatever_the_dropout_of_the_base(
    name: str, adapter: str | None, tmp_path: Path
) -> None:
    """So DPO starts at ln 2."""
    config = tiny.experiment(name, tmp_path, dropout=0.4, trainer={"max_steps": 1})
    if adapter is not None:
        config = replace(config, adapter={adapter: tiny.part("adapter", adapter, dropout=0.4)})
    made = tiny.training_parts(config)
    (line,) = tiny.fit(config, made, tmp_path / "run")
    first = {
        "dpo": math.log(2), "rdpo": math.log(2), "ipo": 25.0, "hinge": 1.0, "kto": 0.5,
    }  # fmt: skip
    if name in first:
        assert line["loss"] == pytest.approx(first[name], abs=1e-12)
        assert line["margin"] == 0
    step = next(iter(made.loader))
    torch.manual_seed(0)
    once = made.objective.train().loss(step.batch).total
    assert made.objective.loss(step.batch).total == once
    assert made.objective.notes[-1] == "objective.dropout=0 replaces a dropout of 0.4"


@pytest.mark.parametrize("pair", [("", "b"), ("b", "")])
def test_an_empty_completion_is_an_error_that_names_its_prompt(pair: tuple[str, str]) -> None:
    made = tiny.objective("dpo")
    with pytest.raises(DataError, match="prompt 'say why' is empty"):
        made.select_samples([Preference("a", "b", "c"), Preference("say why", *pair)])


@pytest.mark.parametrize(("key", "value"), [("nll_weight", -0.1), ("beta", 0.0)])
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "hinge", **{key: value})


def test_an_example_is_pure() -> None:
    made = tiny.objective("ipo")
    record = Preference("abc", "de", "f")
    assert made.example(record, rng(0, TRAIN, 1)) == made.example(record, rng(5, TRAIN, 2))
