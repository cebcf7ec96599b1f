"""Each law can fail: a plugin with that fault is found out, and those that ship are not."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from etude.capability import Capability
from etude.config.plugin_files import options
from etude.laws import adapter as adapter_laws
from etude.laws import architecture as architecture_laws
from etude.laws import callback as callback_laws
from etude.laws import data as data_laws
from etude.laws import decoding as decoding_laws
from etude.laws import judge as judge_laws
from etude.laws import objective as objective_laws
from etude.laws import optimizer as optimizer_laws
from etude.laws import reward as reward_laws
from etude.laws import runs as runs_laws
from etude.laws import template as template_laws
from etude.laws import tokenizer as tokenizer_laws
from etude.laws.suites import SUITES, suite, title
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, Verdict, broken, held, holds, not_applicable, try_law
from etude.objective.loss import Loss
from etude.records import Text

HELD, BROKEN, NOT = Verdict.HELD, Verdict.BROKEN, Verdict.NOT_APPLICABLE


def trial(folder: Path, group: str, name: str, **values: Any) -> Trial:
    """A shipped plugin on trial."""
    config = tiny.experiment("clm", folder)
    chosen = tiny.part(group, name, **values)
    if group in ("optimizer", "schedule", "data"):
        config = replace(config, **{group: chosen})
    if group == "adapter":
        config = replace(config, adapter={name: chosen})
    return Trial(chosen, config, folder)


def stacks(folder: Path, **parts: Any) -> Trial:
    config = tiny.stack(n_layers=1, **parts)
    experiment = tiny.experiment("clm", folder)
    return Trial(config.mixer, experiment, folder, stacks={"decoder_only": config})


def faulty(monkeypatch: pytest.MonkeyPatch, module: Any, made: Any) -> None:
    """Lets a law build this in place of the plugin on trial."""
    monkeypatch.setattr(module, "build", lambda config, *given: made)


def test_a_finding_says_what_it_rests_on_and_what_raises_is_broken() -> None:
    assert (held("1").verdict, broken("2").said, not_applicable("3").verdict) == (HELD, "2", NOT)
    assert (holds(True, "").verdict, holds(False, "").verdict) == (HELD, BROKEN)

    def law() -> Finding:
        raise ValueError("nothing\n  there")

    assert try_law(law) == broken("raised ValueError: nothing there")


def test_every_law_has_a_name_of_its_own_and_says_what_it_is() -> None:
    for group in SUITES:
        names = [title(law) for law in suite(group)]
        assert len(set(names)) == len(names)
        assert all((law.__doc__ or "").rstrip().endswith(".") for law in suite(group))
    assert suite("architecture/mixer") == suite("architecture")


# Objectives


@pytest.fixture
def objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """The default objective, with what one of its methods returns changed."""

    def make(name: str = "", change: Callable[[Any, Any], Any] | None = None) -> Trial:
        made = Trial(*_clm(tmp_path))
        assembled = made.assemble()
        if change is not None:
            whole = vars(type(assembled.objective))[name]
            monkeypatch.setattr(
                assembled.objective,
                name,
                lambda *given: change(whole(assembled.objective, *given), assembled),
            )
        monkeypatch.setattr(made, "assembled", lambda: assembled)
        return made

    return make


def _clm(folder: Path) -> tuple[Any, Any, Path]:
    config = tiny.experiment("clm", folder)
    return config.objective, config, folder


LEARNS = [
    objective_laws.shapes_and_sums,
    objective_laws.counts_add_up,
    objective_laws.gradients_reach_every_parameter,
    objective_laws.the_example_is_pure,
    objective_laws.overfits_a_batch,
]


@pytest.mark.parametrize("law", LEARNS, ids=title)
def test_what_ships_keeps_the_laws_of_objectives(law: Any, objective: Any) -> None:
    assert law(objective()).verdict is HELD


def test_a_loss_that_is_a_mean_does_not_add_up(objective: Any) -> None:
    made = objective("loss", lambda loss, _: Loss(loss.total / 100, loss.metrics))
    assert objective_laws.counts_add_up(made).verdict is HELD  # a factor is taste
    seen: list[float] = []

    def mean(loss: Loss, made: Any) -> Loss:
        seen.append(float(loss.total.detach()))
        return Loss(loss.total / loss.total.detach(), loss.metrics)

    found = objective_laws.counts_add_up(objective("loss", mean))
    assert found.verdict is BROKEN
    assert found.said.startswith("1 over ")


def test_metrics_with_a_gradient_and_losses_without_are_found_out(objective: Any) -> None:
    attached = objective("loss", lambda loss, _: Loss(loss.total, {"of_mine": loss.total}))
    assert "of_mine" in objective_laws.shapes_and_sums(attached).said
    without = objective("loss", lambda loss, _: Loss(loss.total.detach(), {}))
    assert "no gradient" in objective_laws.shapes_and_sums(without).said


def test_a_parameter_that_sits_out_is_named(objective: Any) -> None:
    made = objective()
    made.assemble().objective.network.idle = nn.Parameter(torch.ones(2))
    found = objective_laws.gradients_reach_every_parameter(made)
    assert found.verdict is BROKEN
    assert "network.idle" in found.said


def test_a_loss_that_differs_each_time_and_one_that_cannot_fall_are_found_out(
    objective: Any,
) -> None:
    noise = objective("loss", lambda loss, _: Loss(loss.total * torch.rand(()), loss.metrics))
    assert objective_laws.the_example_is_pure(noise).verdict is BROKEN
    flat = objective("loss", lambda loss, _: Loss(loss.total * 0 + 5, loss.metrics))
    assert objective_laws.overfits_a_batch(flat).verdict is BROKEN


# Runs


def recorded(folder: Path, losses: list[float]) -> Path:
    """A run folder with a record of these losses."""
    folder.mkdir(exist_ok=True)
    lines = [{"step": i + 1, "loss": x, "grad_norm": 1.0} for i, x in enumerate(losses)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "steps.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_runs_whose_curves_part_break_the_laws_of_cuts_and_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(*_clm(tmp_path))
    vars(made)["whole"] = recorded(tmp_path / "whole", [3.0, 2.0])
    laws = (runs_laws.cuts_change_nothing, runs_laws.two_ranks_equal_one)
    for losses, verdict in (([3.0, 2.0], HELD), ([3.0, 2.1], BROKEN), ([3.0], BROKEN)):
        other = recorded(tmp_path / "other", losses)
        monkeypatch.setattr(made, "run", lambda *given, other=other, **trainer: other)
        assert [law(made).verdict for law in laws] == [verdict] * 2
    assert "loss of step 2 is 2 and nan" in runs_laws.cuts_change_nothing(made).said


def test_a_run_that_does_not_end_or_goes_on_otherwise_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 4, "save_every": 2})
    made = Trial(config.objective, config, tmp_path)
    assert runs_laws.it_trains(made).verdict is HELD
    assert runs_laws.a_resumed_run_is_the_same_to_the_bit(made).verdict is HELD
    shutil.rmtree(tmp_path / "resumed")
    again = made.run

    def forgetful(name: str) -> Path:
        return recorded(again(name), [3.0, 2.0, 1.0, 0.5])

    monkeypatch.setattr(made, "run", forgetful)
    assert "after the resumption" in runs_laws.a_resumed_run_is_the_same_to_the_bit(made).said
    vars(made)["whole"] = recorded(tmp_path / "short", [3.0, float("nan")])
    assert runs_laws.it_trains(made).verdict is BROKEN


# Networks

SEES = [
    architecture_laws.shapes,
    architecture_laws.gradients_reach_every_weight,
    architecture_laws.causal,
    architecture_laws.cached_equals_uncached,
    architecture_laws.padding_changes_nothing,
    architecture_laws.packed_equals_alone,
]


@pytest.mark.parametrize("law", SEES, ids=title)
def test_what_ships_keeps_the_laws_of_networks(law: Any, tmp_path: Path) -> None:
    assert law(stacks(tmp_path)).verdict is HELD


def test_what_is_not_claimed_is_not_asked(tmp_path: Path) -> None:
    assert architecture_laws.sees_both_sides(stacks(tmp_path)).verdict is NOT
    assert "SOURCE_TARGET" in architecture_laws.reads_a_source(stacks(tmp_path)).said


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (lambda x: x + x.mean(1, keepdim=True), architecture_laws.causal),
        (lambda x: x + x.roll(-1, 1), architecture_laws.causal),
        (lambda x: x + torch.arange(x.shape[1])[:, None], architecture_laws.cached_equals_uncached),
        (lambda x: x + x.roll(1, 1), architecture_laws.packed_equals_alone),
        (lambda x: x + x.cumsum(1), architecture_laws.padding_changes_nothing),
        (lambda x: x * float("nan"), architecture_laws.shapes),
        (lambda x: x.detach(), architecture_laws.gradients_reach_every_weight),
    ],
    ids=["mean", "ahead", "place", "behind", "sum", "nan", "cut"],
)
def test_a_mixer_with_a_fault_is_found_out(
    fault: Callable[[Tensor], Tensor], law: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stacks(tmp_path)
    kind = type(tiny.network(tiny.stack(n_layers=1)).stack.blocks[0].mixer)
    whole = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x, context: whole(self, fault(x), context))
    assert law(made).verdict is BROKEN


# Data, tokenizers, decodings, rewards


class Shuffled:
    """Records in another order each time."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds, self.times = kinds, 0

    def records(self) -> Iterator[Any]:
        self.times += 1
        yield from (self.kinds[i % len(self.kinds)](f"{self.times} {i}") for i in range(4))

    def fingerprint(self) -> str:
        self.times += 1
        return str(self.times)


def test_data_that_differs_each_time_or_is_of_another_kind_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "data", "sorting", n_problems=50)
    assert all(law(made).verdict is HELD for law in suite("data"))
    faulty(monkeypatch, data_laws, Shuffled((Text, str)))
    assert "read again" in data_laws.two_readings_agree(made).said
    assert data_laws.the_fingerprint_is_steady(made).verdict is BROKEN
    assert (
        data_laws.every_record_is_of_its_kind(made).said
        == "it declares Prompt and yields Text, str"
    )


def test_what_ships_keeps_the_laws_of_tokenizers_and_one_with_a_fault_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "tokenizer", "byte")
    assert all(law(made).verdict is HELD for law in suite("tokenizer"))

    class Lower:
        def build(self, corpus: Any) -> Any:
            inner = tiny.BYTES
            ids = inner.encode
            return SimpleNamespace(
                vocab=replace(inner.vocab, pad=1, unk=1),
                encode=lambda text: ids(text) if text.isascii() else ids(text) + 200,
                decode=lambda given: inner.decode([i for i in given if i < 300]) + "?",
            )

    faulty(monkeypatch, tokenizer_laws, Lower())
    laws = (
        tokenizer_laws.special_ids_are_apart,
        tokenizer_laws.ids_are_within_the_vocabulary,
        tokenizer_laws.what_it_decodes_has_the_same_ids,
    )
    assert all(law(made).verdict is BROKEN for law in laws)


def test_a_decoding_with_a_fault_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "decoding", "sample", top_k=3)
    assert all(law(made).verdict is HELD for law in suite("decoding"))
    fault = SimpleNamespace(
        scores=lambda logits, seen: logits.sub_(logits.mean()).masked_fill(logits < 6, -torch.inf),
        choose=lambda scores, draw: scores.argmin(-1),
    )
    faulty(monkeypatch, decoding_laws, fault)
    assert all(law(made).verdict is BROKEN for law in suite("decoding"))


def test_a_reward_that_minds_its_neighbours_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "reward", "exact_answer")
    assert all(law(made).verdict is HELD for law in suite("reward"))
    faulty(monkeypatch, reward_laws, lambda prompts, answers, references: [float(len(answers))] * 2)
    assert reward_laws.every_answer_gets_one_score(made).verdict is BROKEN
    assert "is paid 7 among others and 1 alone" in reward_laws.neighbours_change_no_score(made).said


def test_a_judge_with_a_fault_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(
        tiny.experiment("clm", tmp_path), reward={"numeric": tiny.part("reward", "numeric")}
    )
    made = Trial(tiny.part("judge", "rule"), config, tmp_path)
    assert all(law(made).verdict is HELD for law in suite("judge"))
    faulty(monkeypatch, judge_laws, lambda pairs: [1.0 + 0.1 * len(pairs)] * len(pairs))
    assert all(law(made).verdict is BROKEN for law in suite("judge"))
    assert judge_laws.what_is_equal_is_a_tie(made).said == "1.4 1.4 1.4 1.4"


# Conversations


def test_every_template_that_ships_keeps_the_laws_and_a_faulty_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path)
    shipped = {n: Trial(tiny.part("template", n), config, tmp_path) for n in options("template")}
    for name, made in shipped.items():
        assert all(law(made).verdict is HELD for law in suite("template")), name
    made = shipped["plain"]
    unending = made.corpus.tokenizer.with_template(
        "{% for message in messages %}{{ message['content'] }};{% endfor %}", {}
    )
    faulty(monkeypatch, template_laws, unending)
    assert template_laws.every_answer_is_told_apart(made).verdict is BROKEN
    assert template_laws.every_answer_ends(made).said == "answers end with ';;'"
    shuffled = made.corpus.tokenizer.with_template(
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
        "{% if add_generation_prompt %}<turn_start>{% endif %}",
        {},
    )
    faulty(monkeypatch, template_laws, shuffled)
    found = template_laws.a_prompt_has_the_ids_that_it_has_in_training(made)
    assert found.said == "message 2 is learned behind other ids than it is asked behind"


def test_a_message_that_gets_a_token_of_the_template_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(tiny.part("template", "plain"), tiny.experiment("clm", tmp_path), tmp_path)
    monkeypatch.setattr("etude.data.chat_template._as_text", lambda tokenizer, content: content)
    found = template_laws.what_a_message_spells_is_text(made)
    assert found.verdict is BROKEN
    assert "in a message makes" in found.said


# What stands beside a run


def test_a_callback_that_changes_what_is_learned_is_found_out(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 3})
    ema = tiny.part("callback", "ema")
    made = Trial(ema, replace(config, callback={"ema": ema}), tmp_path)
    assert callback_laws.it_changes_no_loss(made).said == "3 steps as without it"
    (tmp_path / "whole" / "steps.jsonl").unlink()
    recorded(tmp_path / "whole", [3.0, 2.0])  # and stops early, which is its right
    assert callback_laws.it_changes_no_loss(made).said.startswith("with it and without it: loss of")


def test_a_strategy_is_held_to_the_losses_of_one_device(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    made = Trial(config.strategy, config, tmp_path)
    for law in (callback_laws.it_changes_no_loss, runs_laws.two_ranks_equal_one):
        assert law(made).verdict is NOT  # it is the one for one device
    ddp = tiny.part("strategy", "ddp")
    made = Trial(ddp, replace(config, strategy=ddp), tmp_path)
    vars(made)["whole"] = recorded(tmp_path / "whole", [3.0, 2.0])
    assert callback_laws.it_changes_no_loss(made).verdict is BROKEN


# Rates and adapters


def test_a_schedule_with_a_fault_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "schedule", "linear")
    assert all(law(made).verdict is HELD for law in suite("schedule"))
    asked: list[int] = []

    def factor(step: int) -> float:
        asked.append(step)
        return 3 - len(asked)

    faulty(monkeypatch, optimizer_laws, factor)
    assert all(law(made).verdict is BROKEN for law in suite("schedule"))


def test_an_optimizer_with_a_fault_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "optimizer", "sgd", lr=1e-3)
    laws = suite("optimizer")[:3]
    assert [law(made).said for law in laws] == [
        "lr 0.001",
        "0 of 16 tensors move",
        "0 of 16 tensors differ after the next step",
    ]

    class Restless(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            for parameter in self.param_groups[0]["params"][1:]:
                parameter.data.add_(torch.rand(()))

    config = made.config
    monkeypatch.setattr(
        optimizer_laws, "build",
        lambda chosen, *given: (
            Restless([p.tensor for p in given[0][1:]], config.optimizer.lr)
            if chosen is made.tried
            else tiny.build(chosen, *given)
        ),
    )  # fmt: skip
    assert all(law(made).verdict is BROKEN for law in laws)


def test_an_adapter_with_a_fault_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "adapter", "lora")
    assert all(law(made).verdict is HELD for law in suite("adapter"))
    whole = adapter_laws.adapt

    def adapt(network: Any, configs: Any) -> None:
        whole(network, configs)
        with torch.no_grad():
            next(network.parameters()).add_(1)  # the base
        network.idle = nn.Parameter(torch.ones(1))

    monkeypatch.setattr(adapter_laws, "adapt", adapt)
    assert adapter_laws.it_starts_as_the_base(made).verdict is BROKEN
    assert adapter_laws.switched_off_it_is_the_base(made).verdict is BROKEN
    assert "idle" in adapter_laws.some_weights_learn_and_get_gradients(made).said


def test_capabilities_are_asked_of_every_architecture_that_claims_them(tmp_path: Path) -> None:
    asked: list[str] = []

    def law(network: Any) -> str:
        asked.append(type(network).__name__)
        return ""

    made = stacks(tmp_path)
    made.stacks = {name: tiny.stack(name, n_layers=1) for name in ("decoder_only", "encoder_only")}
    assert (
        architecture_laws.in_every(made, Capability.HIDDEN, law).said
        == "decoder_only, encoder_only"
    )
    assert asked == ["DecoderOnly", "EncoderOnly"]
