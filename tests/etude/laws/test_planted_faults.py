"""`etude check` finds deliberate faults in copies of shipped plugins, each by the law it breaks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import etude.plugins
from etude.config.config_file import node_of, to_experiment
from etude.laws import fitting, suites
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, Verdict, try_law

SHIPPED = Path(__file__).resolve().parents[3] / "plugins"
KNOB = '''    shift: float = 0.0
    """Added to the result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.shift >= 0
'''
FAULTS = {
    "the label is the input token": (
        "objective/clm", "targets.ids[targets.where]", "targets.inputs.tokens[targets.where]",
        "random tokens are not predicted",
    ),
    "the label of a masked token is the mask": (
        "objective/mlm", "targets.ids[targets.where]", "targets.inputs.tokens[targets.where]",
        "random tokens are not predicted",
    ),
    "the batch has the input as its targets": (
        "objective/clm", "return next_token_batch(\n", "return unshifted(\n",
        "random tokens are not predicted",
    ),
    "the loss has the wrong sign": (
        "objective/clm", "Loss(total,", "Loss(-total,", "random tokens are not predicted",
    ),
    "the count is the number of rows": (
        "objective/clm", "float(batch.targets.where.sum())", "float(len(batch.targets.ids))",
        "the count is what the loss sums over",
    ),
    "the count includes tokens that are not targets": (
        "objective/clm", "float(batch.targets.where.sum())", "float(batch.targets.ids.numel())",
        "the count is what the loss sums over",
    ),
    "the loss is a mean": (
        "objective/clm", 'ids, reduction="sum")', 'ids, reduction="mean")', "counts add up",
    ),
    "a metric is a mean": (
        "objective/clm", '"nll": nll.detach()', '"nll": nll.detach() / len(targets.ids)',
        "counts add up",
    ),
    "a metric carries a gradient": (
        "objective/clm", '"nll": nll.detach()', '"nll": nll', "shapes and sums",
    ),
    "a sample is random": (
        "objective/clm", "        return record\n",
        "        keep = int(np.random.default_rng().integers(9, 50))\n"
        "        return TokenRow(record.tokens[:keep], record.documents[:keep], record.n_bytes)\n",
        "samples are reproducible",
    ),
    "the loss changes its batch": (
        "objective/clm", "        targets = batch.targets\n",
        "        targets = batch.targets\n        targets.where[:, 0] ^= True\n",
        "samples are reproducible",
    ),
    "a weight is not used": (
        "objective/clm", "    def example(",
        "    def __init__(self, config, network, tools):\n"
        "        super().__init__(config, network, tools)\n"
        "        self.idle = __import__('torch').nn.Linear(2, 2)\n\n"
        "    def example(",
        "gradients reach every parameter",
    ),
    "a knob is only checked": (
        "objective/hinge", "    pass\n", KNOB, "every knob is read",
    ),
    "a knob is only stored": (
        "objective/hinge", "    def reward(",
        "    def __init__(self, config, network, tools):\n"
        "        super().__init__(config, network, tools)\n"
        "        self.shift = config.shift\n\n"
        "    def reward(",
        "every knob is read",
    ),
    "preferences are learned the wrong way round": (
        "objective/dpo", "preference_loss(margin,", "preference_loss(-margin,",
        "overfits a batch",
    ),
    "a regression has its target on the wrong side": (
        "objective/ipo", "ipo_loss(margin", "ipo_loss(-margin", "overfits a batch",
    ),
    "pairs are counted by tokens": (
        "objective/dpo", "    def reward(",
        "    def count(self, batch):\n"
        "        return float(batch.chosen.where.sum())\n\n    def reward(",
        "the count is what the loss sums over",
    ),
    "a reward model prefers the rejected answer": (
        "objective/reward", "logit = better - worse", "logit = worse - better",
        "overfits a batch",
    ),
    "advantages have the wrong sign": (
        "objective/grpo", "replace(c, advantage=a)", "replace(c, advantage=-a)",
        "the reward rises",
    ),
    "a policy gradient is a mean": (
        "objective/grpo", "-rows[batch.is_in_loss].sum()", "-rows[batch.is_in_loss].mean()",
        "counts add up",
    ),
    "a mixer sees ahead": (
        "architecture/mixer/attention", "self.q(x))", "self.q(x + x.roll(-1, 1)))", "causal",
    ),
    "a layer ignores its knob": (
        "architecture/mlp/gelu", "nn.GELU(config.approximate.value)", "nn.GELU()",
        "every knob is read",
    ),
    "vectors are never stepped": (
        "optimizer/lion", "if parameter.grad is None:",
        "if parameter.grad is None or parameter.ndim == 1:",
        "every weight with a gradient moves",
    ),
    "a step goes up the gradient": (
        "optimizer/lion", "alpha=-lr", "alpha=lr", "every weight with a gradient moves",
    ),
    "momentum is not in the state": (
        "optimizer/lion", "state = self.state[parameter]",
        "state = vars(self).setdefault('own', {}).setdefault(parameter, {})",
        "its state can be restored",
    ),
    "the fingerprint is constant": (
        "data/jsonl", "    def fields(", "    def fingerprint(self):\n"
        "        return 'mine'\n\n    def fields(",
        "a changed file changes the fingerprint",
    ),
    "the fingerprint is that of the path": (
        "data/jsonl", "    def fields(", "    def fingerprint(self):\n"
        "        return self.config.path\n\n    def fields(",
        "a changed file changes the fingerprint",
    ),
    "a part of a file is read twice": (
        "data/jsonl", "return json_parts(file)", "return iter([*json_parts(file)] * 2)",
        "the parts of a file have its rows",
    ),
    "the order of records is random": (
        "data/sorting", "random.Random(config.problem_seed)", "random.Random()",
        "records are reproducible",
    ),
    "a field has a fixed name": (
        "data/record/pair", "row.text(self.columns.source)", "row.text('source')",
        "another name of a field changes nothing",
    ),
    "a factor exceeds the peak": (
        "schedule/linear", "1 - (1 - config.final) * progress",
        "2 - (1 - config.final) * progress", "the peak is the configured rate",
    ),
    "a row's scores depend on the batch": (
        "decoding/sample", "/ config.temperature", "/ logits.std()",
        "rows do not depend on the batch",
    ),
    "a verifier accepts what contains the answer": (
        "reward/exact_answer", "self._answer(completion) == reference.strip()",
        "reference.strip() in (self._answer(completion) or '')",
        "its bench is scored correctly",
    ),
    "an adapter changes the base": (
        "adapter/ia3", "weight.new_ones(weight.shape[1])", "2 * weight.new_ones(weight.shape[1])",
        "it starts as the base",
    ),
}  # fmt: skip
"""By its description: the copied plugin, what is replaced by what, and the law it breaks."""

UNSHIFTED = """

def unshifted(rows, pad, *, intra_document):
    made = next_token_batch(rows, pad, intra_document=intra_document)
    made.targets.ids = made.targets.inputs.tokens
    return made
"""


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finding]:
    """Tests a law on a copy of a shipped plugin in which something is replaced."""

    def test(address: str, old: str, new: str, law: str) -> Finding:
        text = (SHIPPED / f"{address}.py").read_text(encoding="utf-8")
        assert old in text
        group = address.rpartition("/")[0]
        name = f"faulty_{[*FAULTS.values()].index((address, old, new, law))}" if new else "copy"
        file = tmp_path / "plugins" / group / f"{name}.py"
        file.parent.mkdir(parents=True)
        faulty = text.replace(old, new) + UNSHIFTED
        file.write_text(faulty.replace("    pass\n", KNOB), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
        return finding(group, name, law, tmp_path)

    return test


def finding(group: str, name: str, law: str, folder: Path, *overrides: str) -> Finding:
    """What `etude check` finds by one law."""
    chosen = next(one for one in suites.suite(group) if suites.title(one) == law)
    return try_law(lambda: chosen(trial(group, name, folder, *overrides)))


def trial(group: str, name: str, folder: Path, *overrides: str) -> Trial:
    """The trial of `etude check`."""
    given = fitting.with_examples(fitting.Selection(group, name, overrides), folder)
    selected = fitting.fit(given, group.startswith(("objective", "architecture", "optimizer")))
    config = to_experiment(fitting.compose(*selected.overrides).config)
    node: Any = node_of(config, group)
    tested = node[name] if isinstance(node, dict) else node
    return Trial(tested, config, folder, None, fitting.stacks(selected, config))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_breaks_its_law(fault: str, tried: Callable[..., Finding]) -> None:
    found = tried(*FAULTS[fault])
    assert found.verdict is Verdict.BROKEN, found.evidence
    assert "raised" not in found.evidence
