"""Classification of texts and pairs, against transformers' classes and scikit-learn's metrics."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import tiny
import torch
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from etude.cli.main import main
from etude.data.source import Subset
from etude.errors import DataError
from etude.formats.model import read_model
from etude.formats.model_folder import write_model
from etude.objective.head_objective import Query, read_head
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective._output_head import OutputHead, Transform
from etude.plugins.objective._pooling import Pooling
from etude.plugins.objective._problems import PROBLEMS, ProblemType
from etude.plugins.objective._text_rows import cut_lengths
from etude.records import Labelled
from etude.training.run import start

FAMILIES = ["encoder_only", "decoder_only", "encoder_decoder"]
LABELS = ["a", "b", "c"]
RECORDS = {
    ProblemType.single_label: [Labelled("ab", "a"), Labelled("你好, you", "c", "second")],
    ProblemType.multi_label: [Labelled("ab", ("a", "c")), Labelled("你好, you", (), "second")],
    ProblemType.rating: [Labelled("ab", 1.5), Labelled("你好, you", -2.0, "second")],
}


def classify(problem: ProblemType, family: str = "encoder_only", **values: Any) -> Any:
    """An objective in float64 over a byte-level network."""
    config = tiny.stack(family, n_segments=2)
    labels = [] if problem is ProblemType.rating else LABELS
    return tiny.objective(
        "classify",
        tiny.network(config, vocab=tiny.BYTES.vocab),
        tools=tiny.tools(architecture=config, seq_len=64),
        **{"problem": problem, "labels": labels} | values,
    ).double()


def randomise(made: Any) -> Any:
    """Gives the head random weights."""
    with torch.no_grad():
        for parameter in made.head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return made


def batch_of(made: Any, records: list[Labelled]) -> Any:
    return made.collate([made.example(record, rng(0, TRAIN)) for record in records])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("problem", "loss"),
    [
        (ProblemType.single_label, 2 * math.log(3)),
        (ProblemType.multi_label, 2 * math.log(2)),
        (ProblemType.rating, 1.5**2 + 2**2),
    ],
)
def test_an_untrained_head_has_the_loss_of_a_guess(
    problem: ProblemType, loss: float, family: str
) -> None:
    made = classify(problem, family)
    batch = batch_of(made, RECORDS[problem])
    assert float(made.loss(batch).total.detach()) == pytest.approx(loss, rel=1e-12)
    assert made.count(batch) == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", [None, *Pooling])
def test_the_outputs_of_a_text_do_not_depend_on_its_batch(
    family: str, pooling: Pooling | None
) -> None:
    made = randomise(classify(ProblemType.single_label, family, pooling=pooling))
    records = RECORDS[ProblemType.single_label]
    together = made.outputs(batch_of(made, records).inputs)
    alone = [made.outputs(batch_of(made, [record]).inputs) for record in records]
    tiny.assert_close(together, torch.cat(alone))


def test_the_texts_of_a_pair_are_two_segments_of_an_encoder() -> None:
    made = classify(ProblemType.single_label)
    vocab = tiny.BYTES.vocab
    inputs = batch_of(made, [Labelled("ab", "a", "c")]).inputs
    a, b, c = (int(tiny.BYTES.encode(x)[0]) for x in "abc")
    assert inputs.tokens.tolist() == [[*vocab.opening, a, b, vocab.eos, c, vocab.eos]]
    assert inputs.segments.tolist() == [[0] * (len(vocab.opening) + 3) + [1] * 2]


def test_the_longest_text_is_cut_first_as_in_transformers() -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        lengths = draw.integers(0, 20, 2).tolist()
        room = int(draw.integers(2, 30))
        left = list(lengths)
        while sum(left) > room:  # transformers removes single tokens of the longer text
            left[left.index(max(left))] -= 1
        assert sorted(cut_lengths(lengths, room)) == sorted(left)
        assert all(n <= m for n, m in zip(cut_lengths(lengths, room), lengths, strict=True))


def test_cut_texts_keep_their_special_tokens_and_are_counted() -> None:
    made = classify(ProblemType.single_label)
    long = Labelled("x" * 100, "a", "y" * 5)
    (first, second), n_cut = made.texts.encode(long.text, long.second)
    assert len(first) + len(second) == made.tools.seq_len
    assert len(second) == 6
    assert n_cut == 105 - (made.tools.seq_len - 2 - len(tiny.BYTES.vocab.opening))
    assert list(made.cuts(long)) == ["texts cut to fit data.seq_len"]
    assert not list(made.cuts(Labelled("x", "a")))
    (answer,) = made.predict([Query("x" * 100)])
    assert answer.values["tokens_cut"] > 0


HEADS = {
    "bert": {"dense": "bert.pooler.dense", "out": "classifier"},
    "roberta": {"dense": "classifier.dense", "out": "classifier.out_proj"},
    "modernbert": {"dense": "head.dense", "norm": "head.norm", "out": "classifier"},
    "gpt2": {"out": "score"},
    "llama": {"out": "score"},
    "t5": {"dense": "classification_head.dense", "out": "classification_head.out_proj"},
    "bart": {"dense": "classification_head.dense", "out": "classification_head.out_proj"},
}
"""The names of the parts of the head in transformers."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the head is new to transformers
@pytest.mark.parametrize("problem", ProblemType)
@pytest.mark.parametrize("family", HEADS)
def test_outputs_and_loss_agree_with_transformers(
    family: str, problem: ProblemType, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    transform = Transform.gelu if family == "modernbert" else None
    labels = [] if problem is ProblemType.rating else LABELS
    values = {"problem": problem, "labels": labels, "transform": transform}
    made = families.objective(family, "classify", **values).double().eval()
    randomise(made)
    if family in ("gpt2", "llama") and problem is ProblemType.rating:
        made.head.out.bias.data.zero_()  # their scores have none
    write_model(families.model(made, tmp_path), made.network.state_dict(), tmp_path / "model")
    kinds = {"single_label": "single_label_classification", "rating": "regression"}
    kind = kinds.get(problem.value, "multi_label_classification")
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", num_labels=len(labels) or 1, problem_type=kind
    ).double()
    theirs.eval().config.pad_token_id = made.network.vocab.pad
    for part, name in HEADS[family].items():
        state = made.head.get_submodule(part).state_dict()
        names = {n for n, _ in theirs.get_submodule(name).named_parameters()}
        theirs.get_submodule(name).load_state_dict({k: v for k, v in state.items() if k in names})
    batch = batch_of(made, [replace(r, second=None) for r in RECORDS[problem]])
    read = batch.inputs.source or batch.inputs
    target = batch.target[:, 0].long() if problem is ProblemType.single_label else batch.target
    given: dict[str, Any] = {"input_ids": read.tokens, "labels": target}
    given["attention_mask"] = (read.documents > 0).long()
    with torch.no_grad():
        wanted = theirs(**given)
        torch.testing.assert_close(made.outputs(batch.inputs), wanted.logits, rtol=0, atol=1e-5)
        loss = made.loss(batch).total / made.count(batch)
    torch.testing.assert_close(loss, wanted.loss, rtol=0, atol=1e-5)


def test_segments_agree_with_transformers(tmp_path: Path) -> None:
    """BERT's pooled vector of a pair, through its own model."""
    from transformers import AutoModel

    made = families.objective("bert", "classify", labels=LABELS).double().eval()
    write_model(families.model(made, tmp_path), made.network.state_dict(), tmp_path / "model")
    theirs = AutoModel.from_pretrained(tmp_path / "model", add_pooling_layer=False).double().eval()
    inputs = batch_of(made, [RECORDS[ProblemType.single_label][1]]).inputs
    wanted = theirs(inputs.tokens, token_type_ids=inputs.segments).last_hidden_state[:, 0]
    assert inputs.segments.any()
    torch.testing.assert_close(made.texts.vectors(made.network, inputs), wanted, rtol=0, atol=1e-6)


def random_rows(problem: ProblemType, n: int) -> tuple[Tensor, Tensor]:
    """Random outputs and targets."""
    draw = torch.Generator().manual_seed(n)
    outputs = torch.randn(n, 1 if problem is ProblemType.rating else 3, generator=draw)
    target = {
        ProblemType.single_label: torch.randint(3, (n, 1), generator=draw).double(),
        ProblemType.multi_label: torch.randint(2, (n, 3), generator=draw).double(),
        ProblemType.rating: torch.randn(n, 1, generator=draw).double(),
    }
    return outputs.double(), target[problem]


@pytest.mark.parametrize("problem", ProblemType)
def test_metrics_are_those_of_scikit_learn(problem: ProblemType) -> None:
    from scipy import stats

    one = PROBLEMS[problem](LABELS)
    outputs, target = random_rows(problem, 50)
    predicted = one.predicted(outputs)
    found = one.metrics(predicted, target)
    if problem is ProblemType.single_label:
        wanted = {
            "macro_f1": metrics.f1_score(target, predicted, average="macro"),
            "matthews": metrics.matthews_corrcoef(target[:, 0], predicted[:, 0]),
        }
    elif problem is ProblemType.multi_label:
        wanted = {
            f"{kind}_f1": metrics.f1_score(target, predicted, average=kind)
            for kind in ("micro", "macro")
        }
    else:
        sides = predicted[:, 0], target[:, 0]
        wanted = {
            "pearson": stats.pearsonr(*sides)[0],
            "spearman": stats.spearmanr(*sides)[0],
        }
        constant = one.metrics(torch.zeros_like(predicted), target)
        assert all(math.isnan(value) for value in constant.values())
    assert found == pytest.approx(wanted, abs=1e-6)


def test_validation_measures_the_whole_split_however_it_is_cut(tmp_path: Path) -> None:
    found: list[dict[str, float]] = []
    for cut in (1, 4):
        config = tiny.experiment("classify", tmp_path, trainer={"micro_batch": cut, "max_steps": 1})
        made = tiny.training_parts(config)
        (line,) = tiny.fit(config, made, tmp_path / str(cut))
        found.append({k: v for k, v in line.items() if k.startswith("val/")})
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    samples = [made.validation.samples[i] for i in range(made.validation.n_samples)]
    objective: Any = made.objective.eval()
    answers = objective.predict([Query(sample.text) for sample in samples])
    predicted = [answer.values["label"] for answer in answers]
    wanted = [sample.label for sample in samples]
    assert found[0]["val/accuracy"] == pytest.approx(metrics.accuracy_score(wanted, predicted))
    macro = metrics.f1_score(wanted, predicted, average="macro")
    assert found[0]["val/macro_f1"] == pytest.approx(macro, abs=1e-6)
    matthews = metrics.matthews_corrcoef(wanted, predicted)
    assert found[0]["val/matthews"] == pytest.approx(matthews, abs=1e-6)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    train = [Labelled("x", name) for name in "aabacaab"]
    made = tiny.objective("classify", tools=tiny.tools(train=train), balanced=True).double()
    labels = [record.label for record in train]
    wanted = compute_class_weight("balanced", classes=np.array(list("abc")), y=labels)
    assert [made.weights[name] for name in "abc"] == pytest.approx(wanted)
    loss = made.loss(batch_of(made, train[2:4])).total
    assert float(loss.detach()) == pytest.approx((wanted[1] + wanted[0]) * math.log(3), rel=1e-6)


def test_labels_are_those_of_the_training_data_in_order() -> None:
    train = [Labelled("x", "b"), Labelled("y", ("c", "a")), Labelled("z", ())]
    assert tiny.objective("classify", tools=tiny.tools(train=train)).labels == ["a", "b", "c"]
    given = tiny.objective("classify", tools=tiny.tools(train=train), labels=["c", "a"])
    assert given.labels == ["c", "a"]
    with pytest.raises(DataError, match="fewer than two different labels: b"):
        tiny.objective("classify", tools=tiny.tools(train=train[:1]))


@pytest.mark.parametrize(
    ("record", "page"),
    [
        (Labelled("x", "d"), "label 'd' of 'x' is not one of the 3 labels: a, b, c"),
        (Labelled("x", 3.0), "Use objective.problem=rating"),
        (Labelled("x", ("a",)), "Use objective.problem=multi_label"),
        (Labelled(("x", "y"), ("a", "b")), "Use objective=tag"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(record: Labelled, page: str) -> None:
    made = classify(ProblemType.single_label)
    with pytest.raises(DataError, match=page):
        made.select_samples([Labelled("x", "a"), record])


@pytest.mark.parametrize("problem", ProblemType)
def test_a_saved_head_gives_the_answers_of_the_trained_one(
    problem: ProblemType, tmp_path: Path
) -> None:
    rows = {
        ProblemType.single_label: '{"text": "a#", "label": "odd", "two": "b"}',
        ProblemType.multi_label: '{"text": "a#", "label": ["odd", "any"], "two": "b"}',
        ProblemType.rating: '{"text": "a#", "rating": 3.5, "two": "b"}',
    }
    file = tmp_path / "rows.jsonl"
    lines = [rows[problem].replace("#", str(i)) for i in range(30)]
    file.write_text("\n".join(line.replace("odd", "even") for line in lines[:9]) + "\n")
    with file.open("a") as more:
        more.write("\n".join(lines[9:]))
    kind = "rating" if problem is ProblemType.rating else "label"
    record = tiny.part("data/record", kind)
    data = tiny.part("data", "jsonl", path=str(file), record=record, columns={"second": "two"})
    config = tiny.experiment("classify", tmp_path, problem=problem)
    data = replace(data, seq_len=32, val_fraction=0.2)
    run = tmp_path / "run"
    start(replace(config, data=data, run=str(run)), "tiny", [])
    head = read_head(read_model(run))
    (answer,) = head.predict([Query("a1", "b")])
    assert (run / "samples.txt").exists() or answer
    if problem is ProblemType.rating:
        assert answer.lines == [f"{answer.values['rating']:.4g}"]
    else:
        names = {"even", "odd"} | ({"any"} if problem is ProblemType.multi_label else set())
        assert set(answer.values["probabilities"]) == names
        assert answer.lines[0].endswith(next(iter(answer.values["probabilities"])))
    assert main(["generate", f"run={run}", "prompt=a1", "second=b"]) == 0


def test_the_head_of_a_decoder_has_no_bias_as_in_transformers() -> None:
    shapes = {
        family: {k: tuple(v.shape) for k, v in classify(problem, family).head.state_dict().items()}
        for family, problem in (
            ("decoder_only", ProblemType.single_label),
            ("encoder_only", ProblemType.rating),
        )
    }
    assert shapes["decoder_only"] == {"out.weight": (3, 16)}
    assert set(shapes["encoder_only"]) == {"dense.weight", "dense.bias", "out.weight", "out.bias"}


def test_the_outputs_are_fp32_under_autocast() -> None:
    head = OutputHead(8, 3, Transform.gelu, bias=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(2, 8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("key", "value"),
    [("label_smoothing", 1.0), ("labels", ["a"]), ("labels", ["a", "a"])],
)
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "classify", **{key: value})


def test_pooling_is_refused_where_it_has_no_effect() -> None:
    config = tiny.part("objective", "classify", pooling=Pooling.mean)
    with pytest.raises(ValueError, match="pooling has no effect"):
        config.check(tiny.stack("encoder_decoder"))


def test_each_source_of_a_mixture_has_metrics_of_its_own_samples(tmp_path: Path) -> None:
    config = tiny.experiment("classify", tmp_path, trainer={"micro_batch": 2})
    made = tiny.training_parts(config)
    n = made.validation.n_samples
    sources = {"first": range(3), "second": range(3, n)}
    both = replace(made.validation, sources=sources)
    both.metric_names(made.objective)  # as before training, which gives it a Trainer
    found = both.measure(made.objective)
    for name, indices in {"": range(n), **sources}.items():
        samples = Subset(made.validation.samples, indices)
        alone = replace(made.validation, samples=samples, n_samples=len(indices), sources={})
        for metric, value in alone.measure(made.objective).items():
            place = f"val/{name}/" if name else "val/"
            assert found[metric.replace("val/", place)] == pytest.approx(value, nan_ok=True)
