import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import two_processes as two
from hypothesis import given, settings
from hypothesis import strategies as st
from row_files import reader

from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.registry import build, load, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare, read
from etude.data.source import MixedOrder, SourceSamples, Take, indices_by_source
from etude.errors import ConfigError
from etude.objective.randomness import sample_at

Mixture: Any = load("data/mixture").build
Phase: Any = sys.modules[Mixture.__module__].Phase
ARITHMETIC = tiny.part("data", "arithmetic")
SIZES = {"a": 100, "b": 30, "c": 400}


def config(sources: Mapping[str, Any] | None = None, **values: Any) -> Any:
    """A mixture; of three small sets by default."""
    names = ("arithmetic", "sorting", "character_names")
    given = sources or dict(zip(SIZES, (tiny.part("data", n) for n in names), strict=True))
    return tiny.part("data", "mixture", sources=given, **values)


def order(
    n_samples: int, sizes: Mapping[str, int] = SIZES, seed: int = 0, **values: Any
) -> MixedOrder:
    """The order of a mixture whose i-th source has i + 1 tokens in each sample."""
    mean: dict[str, float] = values.pop("mean", dict.fromkeys(sizes, 1.0))
    starts = np.cumsum([0, *sizes.values()])
    sources = {
        name: SourceSamples(np.arange(start, start + n), mean[name])
        for (name, n), start in zip(sizes.items(), starts[:-1], strict=True)
    }
    parts = dict.fromkeys(sizes, ARITHMETIC)
    return Mixture(config(parts, **values)).order(sources, n_samples, seed)


def read_of(made: MixedOrder, n: int, start: int = 0) -> Counter[str]:
    """How many samples of each source are at n positions."""
    ends = np.cumsum([*SIZES.values()])
    found = np.searchsorted(ends, [made(i)[1] for i in range(start, start + n)], side="right")
    return Counter([*SIZES][i] for i in found)


def experiment(name: str, folder: Path, data: Any, **trainer: Any) -> ExperimentConfig:
    return replace(tiny.experiment(name, folder, trainer=trainer), data=data)


def test_shares_of_trained_tokens_are_the_weights_whatever_the_samples_hold() -> None:
    mean = {"a": 1.0, "b": 10.0, "c": 4.0}
    weights = {"a": 5.0, "b": 3.0, "c": 2.0}
    made = order(25_600, mean=mean, weights=weights)
    tokens = {name: n * mean[name] for name, n in read_of(made, 25_600).items()}
    for name, weight in weights.items():
        assert tokens[name] / sum(tokens.values()) == pytest.approx(weight / 10, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(weights=st.lists(st.floats(0.01, 10), min_size=3, max_size=3), n=st.integers(1, 3000))
def test_any_number_of_samples_has_the_share_of_each_source(weights: list[float], n: int) -> None:
    made = order(10**6, weights=dict(zip(SIZES, weights, strict=True)))
    expected = np.array(weights) / sum(weights) * n
    assert np.abs(np.array(made.n_read(n)) - expected).max() <= len(weights)
    assert sum(made.n_read(n)) == n


def test_n_read_counts_what_the_order_reads() -> None:
    made = order(2000, weights={"a": 1.0, "b": 2.0, "c": 3.0}, max_epochs=20.0)
    for n in (0, 1, 255, 256, 700, 2000):
        assert made.n_read(n) == [read_of(made, n)[name] for name in SIZES]


def test_each_epoch_of_a_source_has_each_of_its_samples() -> None:
    made = order(3000, weights={"a": 1.0, "b": 1.0, "c": 1.0})
    seen: dict[int, list[int]] = {}
    for epoch, sample in map(made, range(3000)):
        seen.setdefault(sample, []).append(epoch)
    assert all(epochs == list(range(len(epochs))) for epochs in seen.values())
    visits = [len(seen[i]) for i in range(100, 130)]
    assert max(visits) - min(visits) <= 1
    first = [made(i)[1] for i in range(3000) if made(i)[1] < 100]
    assert first[:100] == [sample_at(0, 100, i)[1] for i in range(100)]


def test_a_position_can_be_sought_in_any_order() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    wanted = [order(2000, weights=weights)(i) for i in range(0, 2000, 37)]
    made = order(2000, weights=weights)
    assert [made(i) for i in reversed(range(0, 2000, 37))] == wanted[::-1]
    other = order(2000, weights=weights, seed=1)
    assert [other(i) for i in range(0, 2000, 37)] != wanted


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [100, 60, 1600]), (2.0, [10, 60**0.5, 40]), (1e6, [1, 1, 1])],
)
def test_without_weights_shares_follow_sizes_in_tokens_and_temperature(
    temperature: float, expected: list[float]
) -> None:
    mean = {"a": 1.0, "b": 2.0, "c": 4.0}
    made = order(10**6, mean=mean, temperature=temperature)
    tokens = np.array(made.n_read(10**6)) * [*mean.values()]
    assert tokens / tokens.sum() == pytest.approx(np.array(expected) / sum(expected), abs=1e-3)


def test_a_used_up_source_gives_its_weight_to_the_others() -> None:
    made = order(1000, weights={"a": 1.0, "b": 2.0, "c": 1.0}, max_epochs=2.5)
    counts = dict(zip(SIZES, made.n_read(1000), strict=True))
    assert counts["b"] == 75
    assert counts["a"] == 250
    assert counts["c"] == 1000 - 325
    late = read_of(made, 100, start=256)
    assert late["b"] == 0
    assert abs(late["a"] - late["c"]) < 25


def test_a_run_that_is_longer_than_its_sources_allow_is_refused() -> None:
    with pytest.raises(ConfigError, match="allow 200 of a, 60 of b, 800 of c"):
        order(1061, max_epochs=2.0)
    assert sum(order(1060, max_epochs=2.0).n_read(1060)) == 1060


def test_a_budget_is_spread_over_the_run_and_the_others_share_the_rest() -> None:
    mean = {"a": 1.0, "b": 10.0, "c": 4.0}
    made = order(10_240, mean=mean, budgets={"b": 5120.0}, weights={"a": 1.0, "c": 3.0})
    assert made.n_read(10_240)[1] == 512
    assert made.n_read(5120)[1] == pytest.approx(256, abs=1)
    a, _, c = made.n_read(10_240)
    assert c * 4 / (a + c * 4) == pytest.approx(0.75, abs=1e-3)


def test_budgets_of_all_sources_are_read_exactly_and_limit_the_run() -> None:
    budgets = {"a": 300.0, "b": 300.0, "c": 400.0}
    assert order(1000, budgets=budgets).n_read(1000) == pytest.approx([300, 300, 400], abs=1)
    with pytest.raises(ConfigError, match="cannot fill a run of 1,001 samples"):
        order(1001, budgets=budgets)


def test_weights_change_linearly_between_phases() -> None:
    phases = [
        Phase(0.5, {"a": 1.0, "b": 1.0, "c": 0.0}),
        Phase(1.0, {"a": 0.0, "b": 1.0, "c": 0.0}),
    ]
    made = order(102_400, weights={"a": 1.0, "b": 0.0, "c": 1.0}, phases=phases)
    quarter = np.array(made.n_read(25_600))
    assert quarter / 25_600 == pytest.approx([0.5, 0.125, 0.375], abs=2e-3)
    half = np.array(made.n_read(51_200))
    assert (half / 51_200) == pytest.approx([0.5, 0.25, 0.25], abs=2e-3)
    rest = np.array(made.n_read(102_400)) - half
    assert rest / 51_200 == pytest.approx([0.25, 0.75, 0.0], abs=2e-3)


def test_a_sudden_phase_begins_at_its_share_of_the_run() -> None:
    sudden = type(config().transition).sudden
    phases = [Phase(0.75, {"a": 0.0, "b": 0.0, "c": 1.0})]
    made = order(1024, weights={"a": 1.0, "b": 0.0, "c": 0.0}, phases=phases, transition=sudden)
    assert read_of(made, 768) == {"a": 768}
    assert read_of(made, 256, start=768) == {"c": 256}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": {"a": ARITHMETIC}}, "two or more, got 1"),
        ({"weights": {"a": 1.0}}, "a number for each source without a budget"),
        ({"weights": {"a": 0.0, "b": 0.0, "c": 0.0}}, "not all 0"),
        ({"weights": {"a": 1.0, "b": -1.0, "c": 1.0}}, "0 or more"),
        ({"budgets": {"d": 1.0}}, "budgets: d is not one of the sources"),
        ({"budgets": {"a": 0.0}}, "budgets must be positive"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"max_epochs": 0.0}, "max_epochs must be positive"),
        ({"phases": [Phase(1.5, dict.fromkeys("abc", 1.0))]}, r"in \(0, 1\]"),
        ({"sources": dict.fromkeys(("a/b", "c"), ARITHMETIC)}, "must not contain a slash"),
    ],
)
def test_impossible_shares_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_a_source_has_no_seq_len_of_its_own() -> None:
    parts = {n: tiny.part("data", "arithmetic", seq_len=9) for n in "ab"}
    with pytest.raises(ValueError, match=r"sources.a.seq_len has no effect: set data.seq_len"):
        config(parts)


def test_sources_of_kinds_without_a_conversion_are_refused() -> None:
    parts = {"docs": tiny.part("data", "python_docs"), "sums": tiny.part("data", "arithmetic")}
    with pytest.raises(ValueError, match=r"\(docs: Text, sums: Prompt\)"):
        config(parts)


def test_it_yields_the_records_of_all_sources() -> None:
    names = ("arithmetic", "sorting")
    parts = {name: tiny.part("data", name) for name in names}
    made = config(parts)
    records = [record for one in parts.values() for record in build(one).records()]
    assert [*Mixture(made).records()] == records
    held = read(made)
    assert len(held.train) + len(held.val) == len(records)


def test_any_number_of_first_samples_has_the_share_of_each_source(tmp_path: Path) -> None:
    corpus = prepare(experiment("clm", tmp_path, tiny.mixture(tmp_path / "t")))
    sizes = {name: len(held) for name, held in indices_by_source(corpus.train).items()}
    assert sum(sizes.values()) == len(corpus.train)
    for n in (1, 5, 20, len(corpus.train)):
        first = indices_by_source(Take(corpus.train, n))
        for name, size in sizes.items():
            assert abs(len(first.get(name, ())) - n * size / len(corpus.train)) <= 1


def test_a_row_has_text_of_one_source(tmp_path: Path) -> None:
    corpus = prepare(experiment("clm", tmp_path, tiny.mixture(tmp_path / "t")))
    decode = corpus.tokenizer.decode
    for name, indices in indices_by_source(corpus.train).items():
        held = "".join(decode(corpus.train[i].tokens.tolist()) for i in indices)
        assert any(c.isdigit() for c in held) is (name == "digits")
        assert any(c.isalpha() for c in held) is (name == "letters")


def test_the_loss_of_the_mixture_is_the_mean_of_those_of_its_sources(tmp_path: Path) -> None:
    data = tiny.mixture(tmp_path / "t", weights={"digits": 1.0, "letters": 1.0})
    run = experiment("clm", tmp_path, data, max_steps=1)
    made = tiny.training_parts(run)
    (line,) = tiny.fit(run, made, tmp_path / "run")
    held = made.validation
    counts: dict[str, float] = {}
    for name, indices in held.sources.items():
        part = replace(held, sources={"": indices}).measure(made.objective)
        assert part["val/loss"] == pytest.approx(line[f"val/{name}/loss"], rel=1e-12)
        draw = np.random.default_rng(0)
        examples = [made.objective.example(held.samples[i], draw) for i in indices]
        counts[name] = made.objective.count(made.objective.collate(examples))
    total = sum(line[f"val/{name}/loss"] * n for name, n in counts.items())
    assert line["val/loss"] == pytest.approx(total / sum(counts.values()), rel=1e-12)
    assert line["val/digits/bits_per_byte"] != line["val/letters/bits_per_byte"]


def sources_of(*overrides: str) -> dict[str, Any]:
    made: Any = to_experiment(compose("train", [*overrides]).config).data
    return made.sources


def test_sources_are_chosen_in_a_list_and_named_by_their_plugins() -> None:
    found = sources_of(
        "data=mixture", "data/sources=[text,python_docs]", "data.sources.text.path=a",
        "data.sources.python_docs.source=true", "data.weights={text:1,python_docs:2}",
    )  # fmt: skip
    assert [plugin_of(one).address for one in found.values()] == ["data/text", "data/python_docs"]
    assert found["text"].path == "a"
    assert found["python_docs"].source


def test_a_plugin_can_be_a_source_twice_under_names() -> None:
    found = sources_of(
        "data=mixture", "+data@data.sources.first=text", "+data@data.sources.second=text",
        "data.sources.first.path=a", "data.sources.second.path=b",
    )  # fmt: skip
    assert {name: one.path for name, one in found.items()} == {"first": "a", "second": "b"}


def test_a_source_of_rows_chooses_its_record() -> None:
    found = sources_of(
        "objective=sft", "data=mixture", "data/sources=[docs_chat,jsonl]",
        "data/sources/record@data.sources.jsonl.record=pair", "data.sources.jsonl.path=a",
        "data.sources.jsonl.columns.target=answer",
    )  # fmt: skip
    assert plugin_of(found["jsonl"].record).address == "data/record/pair"
    assert found["jsonl"].columns == {"target": "answer"}


def test_presets_are_sources_as_plugins_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "conf" / "data" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# Mine.\ndefaults:\n  - jsonl_pairs\n  - _self_\ncolumns: {target: answer}\n")
    monkeypatch.chdir(tmp_path)
    choose = ["data=mixture", "data/sources=[jsonl_pairs,mine]", "objective=sft"]
    paths = ["data.sources.jsonl_pairs.path=a", "data.sources.mine.path=b"]
    found = sources_of(*choose, *paths)
    assert {plugin_of(one.record).address for one in found.values()} == {"data/record/pair"}
    assert [one.path for one in found.values()] == ["a", "b"]
    assert [one.columns for one in found.values()] == [{}, {"target": "answer"}]
    other = "data/sources/record@data.sources.jsonl_pairs.record=prompt"
    found = sources_of(*choose, other, *paths)
    assert plugin_of(found["jsonl_pairs"].record).address == "data/record/prompt"
    with pytest.raises(ConfigError, match=r"Did you mean data/sources=jsonl_pairs\?"):
        sources_of("data=mixture", "data/sources=[jsonl_pear]")


def test_the_card_of_sources_with_bad_rows_and_unused_fields_is_written(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    texts = "".join(f'{{"text": "row {i} of a text", "id": {i}}}\n' for i in range(20))
    rows.write_text(f"{texts}[]\n", encoding="utf-8")
    sources = {"rows": reader("text", rows), "more": reader("text", rows)}
    card = prepare(experiment("clm", tmp_path, config(sources, seq_len=16))).card
    card.save(tmp_path)
    stored = json.loads((tmp_path / "data_card.json").read_text(encoding="utf-8"))
    assert stored["n_bad"] == 2
    assert stored["unused"] == {"field 'id'": 40}


def test_a_preset_names_sources_and_sets_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "conf" / "data" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("""# Documentation, and twice as much of our own text.
defaults:
  - mixture
  - /data@sources.docs: python_docs
  - /data@sources.ours: jsonl
  - override /data/record@sources.ours.record: text
  - _self_
sources:
  ours: {path: texts, columns: {text: body}}
weights: {docs: 1, ours: 2}
""")
    monkeypatch.chdir(tmp_path)
    found = sources_of("data=mine", "data.sources.docs.source=true")
    assert found["ours"].path == "texts"
    assert found["docs"].source


def test_a_mixture_without_sources_names_the_ways_to_choose_some() -> None:
    made = to_experiment(compose("train", ["data=mixture"]).config)
    with pytest.raises(ConfigError, match=r"data/sources=\[python_docs,...\]"):
        check(made)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_and_a_killed_run_resumes(tmp_path: Path) -> None:
    file = tiny.write_text(tmp_path, n=200)
    choices = [
        "data=mixture", "data/sources=[text,python_docs]", f"data.sources.text.path={file}",
        "data.weights={text:2,python_docs:1}", "data.seq_len=16", "architecture.dropout=0",
    ]  # fmt: skip
    one, both = tmp_path / "one", tmp_path / "both"
    for run, more in (
        (one, []),
        (both, ["strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]),
    ):
        result = two.train(run, *choices, *more)
        assert result.returncode == 0, result.stderr
    two.assert_same_curve(one, both)
    killed = tmp_path / "killed"
    process = two.start_and_wait_for(4, killed, *choices)
    process.kill()
    process.wait()
    assert two.train(killed, *choices).returncode == 0
    two.assert_equal(one, killed)
