import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tool_chats import write_conversations

from etude.errors import ConfigError, DataError
from etude.network.adapter import WithoutAdapter
from etude.objective.batches import PROMPTS_CUT
from etude.objective.loader import Ranks
from etude.rl.rollout import RolloutSource

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}


def trained(folder: Path, **given: Any) -> tuple[Any, list[dict[str, Any]]]:
    config = tiny.experiment("grpo", folder, reward=REWARD, **given)
    made = tiny.training_parts(config, tiny.remainder)
    return made, tiny.fit(config, made, folder / "run")


def test_the_ratio_is_1_only_at_the_first_step_on_a_rollout(tmp_path: Path) -> None:
    made, lines = trained(tmp_path, epochs=2, batches_per_rollout=2, trainer={"max_steps": 9})
    ratios = [line["ratio"] for line in lines]
    assert [ratio == pytest.approx(1, abs=1e-13) for ratio in ratios] == [
        step % 4 == 0 for step in range(9)
    ]
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-13)
    assert made.loader.source.n_rollouts == 3


@pytest.mark.parametrize("name", ["grpo", "online_dpo"])
def test_a_policy_continues_conversations_and_a_reward_reads_their_transcripts(
    name: str, tmp_path: Path
) -> None:
    rows = write_conversations(tmp_path / "rows.jsonl")
    data = tiny.part("data", "jsonl_prompts", path=str(rows), seq_len=96, val_fraction=0.2)
    config = tiny.experiment(name, tmp_path, reward=REWARD, trainer={"max_steps": 1})
    config = replace(config, data=data, architecture=tiny.stack(n_layers=1, position="rope"))
    seen: set[str] = set()

    def scored(prompts: Sequence[str], *rest: Any) -> list[float]:
        seen.update(prompts)
        return tiny.remainder(prompts, *rest)

    made = tiny.training_parts(replace(config, template=tiny.part("template", "plain")), scored)
    tiny.fit(replace(config, template=None), made, tmp_path / "run")
    assert all(text.startswith("System: s\n\nUser: a") for text in seen)
    source: Any = made.loader.source
    prompt = made.objective.tools.tokenizer.decode(source.samples[0].prompt, skip_special=False)
    assert prompt.startswith("<bos><turn_start>system\ns<turn_end>\n<turn_start>user\na")
    assert made.objective.lost["the chat template does not write the tools"] == 30


def test_prompts_without_a_template_are_refused_with_the_way_out(tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows.jsonl")
    config = tiny.experiment("grpo", tmp_path, reward=REWARD)
    config = replace(config, data=tiny.part("data", "jsonl_prompts", path=str(rows)))
    with pytest.raises(DataError, match="the tokenizer has none: choose one, such as template=pl"):
        tiny.training_parts(config, tiny.remainder)


def test_in_one_batch_the_first_ratio_is_exactly_1(tmp_path: Path) -> None:
    _, lines = trained(tmp_path, epochs=1)
    assert [line["ratio"] for line in lines] == [1.0] * 5


@pytest.mark.parametrize("stack", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("name", ["grpo", "rloo", "online_dpo"])
def test_with_lora_the_reference_is_the_base_model_and_not_a_second_copy(
    name: str, stack: str, tmp_path: Path
) -> None:
    given = {"architecture": tiny.stack(stack, n_layers=1), "trainer": {"max_steps": 3}}
    config = tiny.experiment(name, tmp_path, reward=REWARD, **given)
    config = replace(config, adapter={"lora": tiny.part("adapter", "lora")})
    made = tiny.training_parts(config, tiny.remainder)
    objective: Any = made.objective
    assert isinstance(objective.reference, WithoutAdapter)
    frozen = {n: p.clone() for n, p in objective.network.named_parameters() if not p.requires_grad}
    lines = tiny.fit(config, made, tmp_path / "run")
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-12)
    assert abs(lines[2]["kl"]) > 1e-9
    assert all(
        torch.equal(frozen[n], p) for n, p in objective.network.named_parameters() if n in frozen
    )


def test_each_sample_is_used_once_per_epoch_and_all_prompts_before_any_repeats(
    tmp_path: Path,
) -> None:
    config = tiny.experiment("grpo", tmp_path, reward=REWARD, epochs=3, batches_per_rollout=2)
    made = tiny.training_parts(config, tiny.remainder)
    tiny.fit(config, made, tmp_path / "run")  # gives the policy a trainer
    source = RolloutSource(made.objective, made.loader.source.prompts, 8, 0, Ranks())  # type: ignore[attr-defined]
    prompts: list[tuple[int, ...]] = []
    orders: set[tuple[int, ...]] = set()
    for _ in range(len(source.prompts) // source.n_prompts):
        ids = [source.next_step_batch().ids for _ in range(6)]
        assert {row[0] for row in ids} == {source.n_rollouts}
        for epoch in range(3):
            used = [i for row in ids[2 * epoch : 2 * epoch + 2] for i in row[1:]]
            assert sorted(used) == list(range(16))
            orders.add(tuple(used))
        groups = [source.samples[i : i + 4] for i in range(0, 16, 4)]
        for group in groups:
            assert len({tuple(sample.prompt) for sample in group}) == 1
            assert sum(sample.advantage for sample in group) == pytest.approx(0, abs=1e-9)
            assert len({tuple(sample.completion) for sample in group}) > 1
        prompts += [tuple(group[0].prompt) for group in groups]
    assert len(set(prompts)) == len(prompts)
    assert len(orders) == 3 * len(prompts) // 4  # a new order in each epoch of each rollout


def test_the_generation_batch_does_not_change_a_rollout(tmp_path: Path) -> None:
    rollouts: list[Any] = []
    for size in (1, 3, 64):
        made, _ = trained(tmp_path, generation_batch=size, trainer={"max_steps": 1})
        samples = made.loader.source.samples
        rollouts.append([(list(s.prompt), list(s.completion), s.reward) for s in samples])
    assert rollouts[0] == rollouts[1] == rollouts[2]


def test_eval_mode_disables_gradients_and_restores_training_mode(tmp_path: Path) -> None:
    made, _ = trained(tmp_path, dropout=0.3, trainer={"max_steps": 1})
    objective = made.objective
    objective.train()
    with objective.eval_mode():
        assert not objective.network.training
        assert not torch.is_grad_enabled()
    assert objective.network.training


def test_a_rollout_must_consist_of_whole_groups(tmp_path: Path) -> None:
    config = tiny.experiment("grpo", tmp_path, reward=REWARD, group_size=3)
    with pytest.raises(ConfigError, match=r"must be a multiple of .*got 8 x 1 and 1 x 3"):
        tiny.training_parts(config)


def test_prompts_leave_room_for_completions(tmp_path: Path) -> None:
    made, _ = trained(tmp_path, trainer={"max_steps": 1}, max_new_tokens=13)
    longest = max(len(s.prompt) + len(s.completion) for s in made.loader.source.samples)
    assert longest <= 16


def test_validation_is_the_mean_reward_of_greedy_answers(tmp_path: Path) -> None:
    _, lines = trained(tmp_path)
    assert lines[-1]["val/loss"] == -lines[-1]["val/reward"]
    assert 0 < lines[-1]["val/reward"] < 1


def test_a_stop_string_ends_a_completion_and_is_kept(
    tmp_path: Path,
) -> None:
    stop = list("0123456789abcdefghijklmnopqrstuvwxyz")
    found: list[list[tuple[str, bool]]] = []
    for name, given in (("free", {}), ("cut", {"stop": stop})):
        made, _ = trained(tmp_path / name, max_new_tokens=8, trainer={"max_steps": 1}, **given)
        decode = made.objective.tools.tokenizer.decode
        found.append([(decode(s.completion), s.is_finished) for s in made.loader.source.samples])
    for (free, _), (cut, finished) in zip(*found, strict=True):
        places = [i for i, character in enumerate(free) if character in stop]
        assert cut.startswith(free[: places[0] + 1] if places else free)
        assert len(cut) == (places[0] + 1 if places else len(free))
        assert finished or not places
    assert [cut for cut, _ in found[1]] != [free for free, _ in found[0]]


def test_the_mean_reward_of_held_out_answers_without_verdicts_is_nan(tmp_path: Path) -> None:
    config = tiny.experiment("grpo", tmp_path, trainer={"max_steps": 1, "val_every": 1})
    rewards = {True: without_verdict, False: tiny.remainder}
    for is_nan, reward in rewards.items():
        made = tiny.training_parts(config, reward)
        (line,) = tiny.fit(config, made, tmp_path / str(is_nan))
        assert math.isnan(line["val/reward"]) == is_nan


@pytest.mark.parametrize("name", tiny.ON_POLICY)
def test_a_prompt_that_leaves_no_room_loses_its_start_and_is_counted(
    name: str, tmp_path: Path
) -> None:
    """The reward reads the whole prompt."""
    seen: list[str] = []

    def reward(prompts: Any, completions: Any, references: Any) -> list[float]:
        seen.extend(prompts)
        return tiny.remainder(prompts, completions, references)

    made = tiny.training_parts(tiny.experiment(name, tmp_path, max_new_tokens=11))
    n_long = sum(len(p.prompt) + 1 > 5 for p in map(made.train.__getitem__, range(len(made.train))))
    assert made.objective.lost == {PROMPTS_CUT: n_long}
    assert n_long > 0
    tiny.fit(
        config := tiny.experiment(name, tmp_path, max_new_tokens=11, trainer={"max_steps": 1}),
        made := tiny.training_parts(config, reward),
        tmp_path / "run",
    )
    read = {tiny.BYTES.decode(sample.prompt) for sample in made.loader.source.samples}  # type: ignore[attr-defined]
    assert max(map(len, read)) == 4
    assert all(any(prompt.endswith(part) for prompt in seen) for part in read)
    assert max(map(len, seen)) > 4


@pytest.mark.parametrize("adapter", ["lora", "bottleneck"])
@pytest.mark.parametrize("name", tiny.ON_POLICY)
def test_a_fresh_ratio_is_1_whatever_the_dropout_of_network_and_adapter(
    name: str, adapter: str, tmp_path: Path
) -> None:
    def noise(dropout: float) -> list[float]:
        """Two losses of a batch, subtracted, and how far the ratio of each step is from 1."""
        noisy = replace(config, objective=replace(config.objective, epochs=1, dropout=dropout))
        made = tiny.training_parts(noisy, tiny.remainder)
        lines = tiny.fit(noisy, made, tmp_path / str(dropout))
        batch = next(iter(made.loader)).batch
        losses = [made.objective.train().loss(batch).total.item() for _ in range(2)]
        return [losses[0] - losses[1], *(line.get("ratio", 1.0) - 1 for line in lines)]

    architecture = tiny.stack(dropout=0.5)
    config = tiny.experiment(name, tmp_path, architecture=architecture, trainer={"max_steps": 2})
    config = replace(
        config,
        adapter={adapter: tiny.part("adapter", adapter, dropout=0.5)},
        optimizer=tiny.part("optimizer", "adamw", lr=0.05),
    )
    assert noise(0.0) == pytest.approx([0.0] * 3, abs=1e-12)
    assert noise(0.5) != pytest.approx([0.0] * 3, abs=1e-3)


@pytest.mark.parametrize("name", tiny.ON_POLICY)
def test_without_a_verdict_the_reward_is_nan_and_no_weight_changes(
    name: str, tmp_path: Path
) -> None:
    config = tiny.experiment(name, tmp_path, trainer={"max_steps": 2})
    decaying = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=1.0, weight_decay=0.5))
    made = tiny.training_parts(decaying, without_verdict)
    before = {n: p.clone() for n, p in made.objective.named_parameters()}
    for line in tiny.fit(decaying, made, tmp_path / "run"):
        assert math.isnan(line["reward"])
        assert math.isnan(line["reward_std"])
        assert math.isnan(line["loss"])
        undefined = {"accuracy", "margin", "policy_loss", "value_loss", "explained_variance"}
        assert all(math.isnan(line[name]) for name in undefined & line.keys())
        assert line["response_length"] > 0
        assert line["skipped"] == line["step"]
    assert all(torch.equal(before[n], p) for n, p in made.objective.named_parameters())


@pytest.mark.parametrize("name", tiny.ON_POLICY)
def test_completions_without_a_verdict_do_not_change_the_metrics_of_the_others(
    name: str, tmp_path: Path
) -> None:
    """No mean counts them as 0."""
    config = tiny.experiment(name, tmp_path, trainer={"max_steps": 1})
    made = tiny.training_parts(config, one_verdict_in_two)
    (line,) = tiny.fit(config, made, tmp_path / "run")
    assert line["reward"] == pytest.approx(0.5)
    samples = made.loader.source.samples  # type: ignore[attr-defined]
    if name != "online_dpo":
        lengths = [len(sample.completion) for sample in samples]
        assert line["response_length"] == pytest.approx(sum(lengths) / len(lengths))


def one_verdict_in_two(prompts: Any, completions: Sequence[str], references: Any) -> list[float]:
    return [(i // 2) % 2 if i % 2 else math.nan for i in range(len(completions))]


def without_verdict(prompts: Any, completions: Sequence[str], references: Any) -> list[float]:
    return [math.nan] * len(completions)
