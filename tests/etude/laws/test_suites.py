"""Each law detects a plugin with the corresponding fault, and holds for the shipped plugins."""

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
from etude.config.registry import build, plugin_of
from etude.evaluation.item import Item, Metric
from etude.evaluation.prompting import Examples
from etude.laws import adapter as adapter_laws
from etude.laws import architecture as architecture_laws
from etude.laws import callback as callback_laws
from etude.laws import data as data_laws
from etude.laws import decoding as decoding_laws
from etude.laws import environment as environment_laws
from etude.laws import judge as judge_laws
from etude.laws import objective as objective_laws
from etude.laws import optimizer as optimizer_laws
from etude.laws import reward as reward_laws
from etude.laws import runs as runs_laws
from etude.laws import scorer as scorer_laws
from etude.laws import template as template_laws
from etude.laws import tokenizer as tokenizer_laws
from etude.laws.suites import SUITES, suite, title
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, Verdict, broken, held, holds, not_applicable, try_law
from etude.objective.environment import Reply
from etude.objective.loss import Loss
from etude.records import Text

HELD, BROKEN, NOT = Verdict.HELD, Verdict.BROKEN, Verdict.NOT_APPLICABLE


def trial(folder: Path, group: str, name: str, **values: Any) -> Trial:
    """A trial of a shipped plugin."""
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
    """Makes a law build this object instead of the tested plugin."""
    monkeypatch.setattr(module, "build", lambda config, *given: made)


def broken_laws(made: Trial, group: str) -> list[str]:
    """The laws of a group that a plugin breaks."""
    return [title(law) for law in suite(group) if law(made).verdict is BROKEN]


def test_a_finding_has_its_evidence_and_an_exception_breaks_the_law() -> None:
    assert (held("1").verdict, broken("2").evidence, not_applicable("3").verdict) == (
        HELD,
        "2",
        NOT,
    )
    assert (holds(True, "").verdict, holds(False, "").verdict) == (HELD, BROKEN)

    def law() -> Finding:
        raise ValueError("nothing\n  there")

    assert try_law(law) == broken("raised ValueError: nothing there")


def test_every_law_of_a_group_has_a_unique_title_and_a_docstring() -> None:
    for group in SUITES:
        names = [title(law) for law in suite(group)]
        assert len(set(names)) == len(names)
        assert all((law.__doc__ or "").rstrip().endswith(".") for law in suite(group))
    assert suite("architecture/mixer") == suite("architecture")


# Objectives


@pytest.fixture
def objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """The default objective, with the return value of one method changed."""

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
        monkeypatch.setattr(made, "assemble", lambda: assembled)
        return made

    return make


def _clm(folder: Path) -> tuple[Any, Any, Path]:
    config = tiny.experiment("clm", folder)
    return config.objective, config, folder


OBJECTIVE_LAWS = [
    objective_laws.shapes_and_sums,
    objective_laws.counts_add_up,
    objective_laws.gradients_reach_every_parameter,
    objective_laws.samples_are_reproducible,
    objective_laws.overfits_a_batch,
]


@pytest.mark.parametrize("law", OBJECTIVE_LAWS, ids=title)
def test_a_shipped_objective_keeps_the_laws(law: Any, objective: Any) -> None:
    assert law(objective()).verdict is HELD


def test_a_loss_that_is_a_mean_breaks_counts_add_up(objective: Any) -> None:
    made = objective("loss", lambda loss, _: Loss(loss.total / 100, loss.metrics))
    assert objective_laws.counts_add_up(made).verdict is HELD  # a constant factor is allowed
    seen: list[float] = []

    def mean(loss: Loss, made: Any) -> Loss:
        seen.append(float(loss.total.detach()))
        return Loss(loss.total / loss.total.detach(), loss.metrics)

    found = objective_laws.counts_add_up(objective("loss", mean))
    assert found.verdict is BROKEN
    assert found.evidence == "loss is 1 in a batch, and 8 one by one"


def test_metrics_with_a_gradient_and_losses_without_are_reported(objective: Any) -> None:
    attached = objective("loss", lambda loss, _: Loss(loss.total, {"of_mine": loss.total}))
    assert "of_mine" in objective_laws.shapes_and_sums(attached).evidence
    without = objective("loss", lambda loss, _: Loss(loss.total.detach(), {}))
    assert "no gradient" in objective_laws.shapes_and_sums(without).evidence


def test_a_parameter_without_a_gradient_is_named(objective: Any) -> None:
    made = objective()
    made.assemble().objective.network.idle = nn.Parameter(torch.ones(2))
    found = objective_laws.gradients_reach_every_parameter(made)
    assert found.verdict is BROKEN
    assert "network.idle" in found.evidence


def test_a_random_loss_and_a_constant_loss_break_laws(
    objective: Any,
) -> None:
    noise = objective("loss", lambda loss, _: Loss(loss.total * torch.rand(()), loss.metrics))
    assert objective_laws.samples_are_reproducible(noise).verdict is BROKEN
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


def test_different_loss_curves_break_the_laws_on_micro_batches_and_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(*_clm(tmp_path))
    vars(made)["whole"] = recorded(tmp_path / "whole", [3.0, 2.0])
    laws = (runs_laws.micro_batch_size_changes_nothing, runs_laws.two_devices_equal_one)
    for losses, verdict in (([3.0, 2.0], HELD), ([3.0, 2.1], BROKEN), ([3.0], BROKEN)):
        other = recorded(tmp_path / "other", losses)
        monkeypatch.setattr(made, "run", lambda *given, other=other, **trainer: other)
        assert [law(made).verdict for law in laws] == [verdict] * 2
    assert (
        "loss of step 2 is 2 and nan" in runs_laws.micro_batch_size_changes_nothing(made).evidence
    )


def test_an_unfinished_run_and_an_inexact_resume_break_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 4, "save_every": 2})
    made = Trial(config.objective, config, tmp_path)
    assert runs_laws.it_trains(made).verdict is HELD
    assert runs_laws.resuming_is_bit_identical(made).verdict is HELD
    shutil.rmtree(tmp_path / "resumed")
    again = made.run

    def forgetful(name: str) -> Path:
        return recorded(again(name), [3.0, 2.0, 1.0, 0.5])

    monkeypatch.setattr(made, "run", forgetful)
    assert "after resuming" in runs_laws.resuming_is_bit_identical(made).evidence
    vars(made)["whole"] = recorded(tmp_path / "short", [3.0, float("nan")])
    assert runs_laws.it_trains(made).verdict is BROKEN


# Networks

ARCHITECTURE_LAWS = [
    architecture_laws.shapes,
    architecture_laws.gradients_reach_every_weight,
    architecture_laws.causal,
    architecture_laws.cached_equals_uncached,
    architecture_laws.padding_changes_nothing,
    architecture_laws.packed_equals_separate,
    architecture_laws.dropout_can_be_off,
]


@pytest.mark.parametrize("law", ARCHITECTURE_LAWS, ids=title)
def test_a_shipped_network_keeps_the_laws(law: Any, tmp_path: Path) -> None:
    assert law(stacks(tmp_path)).verdict is HELD


def test_laws_of_undeclared_capabilities_do_not_apply(tmp_path: Path) -> None:
    assert architecture_laws.bidirectional(stacks(tmp_path)).verdict is NOT
    assert "SOURCE_TARGET" in architecture_laws.reads_a_source(stacks(tmp_path)).evidence


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (lambda x: x + x.mean(1, keepdim=True), architecture_laws.causal),
        (lambda x: x + x.roll(-1, 1), architecture_laws.causal),
        (lambda x: x + torch.arange(x.shape[1])[:, None], architecture_laws.cached_equals_uncached),
        (lambda x: x + x.roll(1, 1), architecture_laws.packed_equals_separate),
        (lambda x: x + x.cumsum(1), architecture_laws.padding_changes_nothing),
        (lambda x: x * float("nan"), architecture_laws.shapes),
        (lambda x: x.detach(), architecture_laws.gradients_reach_every_weight),
        (lambda x: nn.functional.dropout(x, 0.1), architecture_laws.dropout_can_be_off),
    ],
    ids=["mean", "ahead", "place", "behind", "sum", "nan", "cut", "noise"],
)
def test_a_faulty_mixer_breaks_the_law(
    fault: Callable[[Tensor], Tensor], law: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stacks(tmp_path)
    kind = type(tiny.network(tiny.stack(n_layers=1)).stack.blocks[0].mixer)
    whole = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x, context: whole(self, fault(x), context))
    assert law(made).verdict is BROKEN


# Data, tokenizers, decodings, rewards


class Shuffled:
    """A data source whose order differs each time."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds, self.times = kinds, 0

    def records(self) -> Iterator[Any]:
        self.times += 1
        yield from (self.kinds[i % len(self.kinds)](f"{self.times} {i}") for i in range(4))

    def fingerprint(self) -> str:
        self.times += 1
        return str(self.times)


def test_data_that_changes_or_has_the_wrong_kind_breaks_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "data", "sorting", n_problems=50)
    assert broken_laws(made, "data") == []
    faulty(monkeypatch, data_laws, Shuffled((Text, str)))
    assert "read again" in data_laws.records_are_reproducible(made).evidence
    assert data_laws.the_fingerprint_is_stable(made).verdict is BROKEN
    assert (
        data_laws.records_are_of_the_declared_kind(made).evidence
        == "it declares Prompt and yields Text, str"
    )


def test_a_shipped_tokenizer_keeps_the_laws_and_a_faulty_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "tokenizer", "byte")
    assert broken_laws(made, "tokenizer") == []

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
        tokenizer_laws.special_ids_are_distinct,
        tokenizer_laws.ids_are_within_the_vocabulary,
        tokenizer_laws.decoded_text_has_the_same_ids,
    )
    assert all(law(made).verdict is BROKEN for law in laws)


def test_a_faulty_decoding_breaks_every_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "decoding", "sample", top_k=3)
    assert broken_laws(made, "decoding") == []
    fault = SimpleNamespace(
        begin=list[int],
        advance=lambda state, token: [state.append(token)],
        scores=lambda logits, history: logits.sub_(logits.mean()).masked_fill(
            logits < 8 + len(history.states[0]), -torch.inf
        ),
        choose=lambda scores, draw: scores.argmin(-1),
    )
    faulty(monkeypatch, decoding_laws, fault)
    assert all(law(made).verdict is BROKEN for law in suite("decoding")[:-1])


def test_a_reward_that_depends_on_the_batch_breaks_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "reward", "exact_answer")
    assert broken_laws(made, "reward") == []
    faulty(monkeypatch, reward_laws, lambda prompts, answers, references: [float(len(answers))] * 2)
    assert reward_laws.every_answer_gets_one_score(made).verdict is BROKEN
    assert (
        "gets 7 in a batch and 1 alone"
        in reward_laws.scores_do_not_depend_on_the_batch(made).evidence
    )


def test_a_faulty_judge_breaks_every_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(
        tiny.experiment("clm", tmp_path), reward={"numeric": tiny.part("reward", "numeric")}
    )
    made = Trial(tiny.part("judge", "rule"), config, tmp_path)
    assert broken_laws(made, "judge") == []
    faulty(monkeypatch, judge_laws, lambda pairs: [1.0 + 0.1 * len(pairs)] * len(pairs))
    assert all(law(made).verdict is BROKEN for law in suite("judge")[:-1])
    assert judge_laws.equal_answers_tie(made).evidence == "1.4 1.4 1.4 1.4"


# Evaluation


def test_a_faulty_scorer_breaks_every_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Trial(tiny.part("scorer", "exact"), tiny.experiment("clm", tmp_path), tmp_path)
    assert broken_laws(made, "scorer") == []
    good = build(made.tested)
    monkeypatch.setattr(type(good), "metrics", [Metric("length", "length")])
    monkeypatch.setattr(type(good), "is_right", lambda self, answer, reference: True)
    assert all(law(made).verdict is BROKEN for law in suite("scorer")[:-1])
    found = scorer_laws.its_bench_is_scored_correctly(made)
    assert found.evidence == "wrong answer 'A' is right"


def test_a_faulty_prompting_breaks_every_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(tiny.part("prompting", "zero_shot"), tiny.experiment("clm", tmp_path), tmp_path)
    assert broken_laws(made, "prompting") == []
    kind = type(build(made.tested, Examples([], 0)))

    def leaking(self: Any, case: Any) -> str:
        return f"{self.examples.cases[0].record.prompt} {case.record.answer}"

    monkeypatch.setattr(kind, "prompt", leaking)
    monkeypatch.setattr(kind, "choose", lambda self, answers, log_probs: "7")
    assert all(law(made).verdict is BROKEN for law in suite("prompting")[:-1])


def test_a_faulty_evaluator_breaks_every_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(tiny.part("evaluator", "perplexity"), tiny.experiment("clm", tmp_path), tmp_path)
    assert broken_laws(made, "evaluator") == []
    kind: Any = plugin_of(made.tested).build
    evaluate = kind.evaluate

    def leaking(self: Any, cases: Any) -> Any:
        """Values of the first case and the batch size, and no bytes."""
        first = evaluate(self, cases)[0].values["nats"] + self.context.subject.batch_size
        return [Item(case.id, {"nats": first, "bytes": 1.0}) for case in cases]

    monkeypatch.setattr(kind, "evaluate", leaking)
    assert all(law(made).verdict is BROKEN for law in suite("evaluator")[:-1])


# Environments


class Forgetful:
    """Counts its replies in itself, keeps a tuple in the state, and gives undeclared rewards."""

    stop = ()

    def __init__(self, config: Any) -> None:
        self.config = config
        self.count = 0

    def start(self, prompt: Any, rng: Any) -> Any:
        return {"turns": 0}

    def example(self, state: Any) -> list[str]:
        return ["a", "b"]

    def step(self, state: Any, turn: str, rng: Any) -> Reply:
        self.count += 1
        n = state["turns"] + 1 if isinstance(state["turns"], int) else 9
        return Reply({"turns": (n,)} if n == 1 else {"turns": n}, f"{self.count}{n}", reward=0.5)


def test_shipped_environments_keep_the_laws_and_a_faulty_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("grpo", tmp_path, reward={"length": tiny.part("reward", "length")})
    own = suite("environment")[:6]
    for name in options("environment"):
        made = Trial(tiny.part("environment", name), config, tmp_path)
        assert all(law(made).verdict is HELD for law in own), name
    made = Trial(tiny.part("environment", "calculator"), config, tmp_path)
    faulty(monkeypatch, environment_laws, Forgetful(made.tested))
    assert [law(made).verdict for law in own] == [BROKEN] * 4 + [HELD] * 2
    monkeypatch.setattr(environment_laws, "is_own", lambda row: row.completion == [])
    assert environment_laws.ids_are_appended(made).verdict is BROKEN


# Conversations


def test_shipped_templates_keep_the_laws_and_faulty_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path)
    shipped = {n: Trial(tiny.part("template", n), config, tmp_path) for n in options("template")}
    for name, made in shipped.items():
        assert broken_laws(made, "template") == [], name
    made = shipped["plain"]
    unending = made.corpus.tokenizer.with_template(
        "{% for message in messages %}{{ message['content'] }};{% endfor %}", {}
    )
    faulty(monkeypatch, template_laws, unending)
    assert template_laws.every_answer_has_a_span(made).verdict is BROKEN
    assert (
        template_laws.every_answer_ends_with_a_stop_token(made).evidence == "answers end with ';;'"
    )
    shuffled = made.corpus.tokenizer.with_template(
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
        "{% if add_generation_prompt %}<turn_start>{% endif %}",
        {},
    )
    faulty(monkeypatch, template_laws, shuffled)
    found = template_laws.prompts_have_the_same_ids_as_in_training(made)
    assert found.evidence == "the prompt of message 2 has other ids than in training"


def test_a_message_that_injects_special_tokens_breaks_the_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(tiny.part("template", "plain"), tiny.experiment("clm", tmp_path), tmp_path)
    monkeypatch.setattr("etude.data.rendering.plain", lambda tokenizer, value, **kept: value)
    found = template_laws.messages_cannot_inject_special_tokens(made)
    assert found.verdict is BROKEN
    assert "in a message gives" in found.evidence


# Callbacks and strategies


def test_a_callback_that_changes_losses_breaks_the_law(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 3})
    ema = tiny.part("callback", "ema")
    made = Trial(ema, replace(config, callback={"ema": ema}), tmp_path)
    assert callback_laws.losses_are_unchanged(made).evidence == "3 steps: the same losses"
    (tmp_path / "whole" / "steps.jsonl").unlink()
    recorded(tmp_path / "whole", [3.0, 2.0])  # it may stop early
    assert callback_laws.losses_are_unchanged(made).evidence.startswith(
        "with and without it: loss of"
    )


def test_a_strategy_must_have_the_losses_of_one_device(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    made = Trial(config.strategy, config, tmp_path)
    for law in (callback_laws.losses_are_unchanged, runs_laws.two_devices_equal_one):
        assert law(made).verdict is NOT  # it is the single-device strategy
    ddp = tiny.part("strategy", "ddp")
    made = Trial(ddp, replace(config, strategy=ddp), tmp_path)
    vars(made)["whole"] = recorded(tmp_path / "whole", [3.0, 2.0])
    assert callback_laws.losses_are_unchanged(made).verdict is BROKEN


# Schedules, optimizers and adapters


def test_a_faulty_schedule_breaks_every_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(tmp_path, "schedule", "linear")
    assert broken_laws(made, "schedule") == []
    steps: list[int] = []

    def factor(step: int) -> float:
        steps.append(step)
        return 3 - len(steps)

    faulty(monkeypatch, optimizer_laws, factor)
    assert all(law(made).verdict is BROKEN for law in suite("schedule")[:-1])


def test_a_faulty_optimizer_breaks_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial(tmp_path, "optimizer", "sgd", lr=1e-3)
    laws = suite("optimizer")[:4]
    assert [law(made).evidence for law in laws] == [
        "lr 0.001",
        "16 tensors",
        "0 of 16 tensors changed",
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
            if chosen is made.tested
            else tiny.build(chosen, *given)
        ),
    )  # fmt: skip
    assert all(law(made).verdict is BROKEN for law in laws)


def test_a_faulty_adapter_breaks_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial(tmp_path, "adapter", "lora")
    assert broken_laws(made, "adapter") == []
    whole = adapter_laws.adapt

    def adapt(network: Any, configs: Any) -> None:
        whole(network, configs)
        with torch.no_grad():
            next(network.parameters()).add_(1)  # the base
        network.idle = nn.Parameter(torch.ones(1))

    monkeypatch.setattr(adapter_laws, "FINE_TUNING", (1, 0.0))  # which learns nothing
    assert adapter_laws.answers_learn_to_end(made).verdict is BROKEN
    monkeypatch.setattr(adapter_laws, "adapt", adapt)
    assert adapter_laws.it_starts_as_the_base(made).verdict is BROKEN
    assert adapter_laws.disabled_it_equals_the_base(made).verdict is BROKEN
    assert "idle" in adapter_laws.trainable_weights_get_gradients(made).evidence


def test_a_law_is_tested_in_every_architecture_with_the_capability(tmp_path: Path) -> None:
    seen: list[str] = []

    def law(network: Any) -> str:
        seen.append(type(network).__name__)
        return ""

    made = stacks(tmp_path)
    made.stacks = {name: tiny.stack(name, n_layers=1) for name in ("decoder_only", "encoder_only")}
    assert (
        architecture_laws.in_every(made, Capability.HIDDEN, law).evidence
        == "decoder_only, encoder_only"
    )
    assert seen == ["DecoderOnly", "EncoderOnly"]
