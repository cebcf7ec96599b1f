"""Labels of words, against transformers' classes for token classification and seqeval."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import tiny
import torch
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
from seqeval.scheme import BILOU, Entities

from etude.errors import DataError
from etude.formats.model import read_model
from etude.formats.model_folder import write_model
from etude.objective.head_objective import Query, read_head
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective._output_head import Transform
from etude.plugins.objective._spans import span_metrics, span_sums, spans_of, tags_are_spans
from etude.plugins.objective._words import joined, split_words, subwords, windows, word_rows
from etude.plugins.objective.tag import Subword
from etude.records import Labelled
from etude.training.run import start

FAMILIES = ["encoder_only", "decoder_only", "encoder_decoder"]
LABELS = ["B-X", "I-X", "O"]
TAGS = ("B-X", "I-X", "O", "O", "I-X")
RECORDS = [
    Labelled(("two", "words"), ("B-X", "O")),
    Labelled(("他", "说", "hello", ",", "Zoë"), TAGS),
]


def tag(family: str = "encoder_only", seq_len: int = 64, **values: Any) -> Any:
    """An objective in float64 over a byte-level network."""
    config = tiny.stack(family)
    made = tiny.objective(
        "tag",
        tiny.network(config, vocab=tiny.BYTES.vocab),
        tools=tiny.tools(architecture=config, seq_len=seq_len),
        labels=LABELS,
        **values,
    )
    return randomise(made.double())


def randomise(made: Any) -> Any:
    """Gives the head random weights."""
    with torch.no_grad():
        for parameter in made.head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return made


def batch_of(made: Any, records: list[Labelled]) -> Any:
    return made.collate([made.example(record, rng(0, TRAIN)) for record in records])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untrained_head_has_the_loss_of_a_guess_per_word(family: str) -> None:
    made = tag(family)
    for parameter in made.head.parameters():
        parameter.data.zero_()
    batch = batch_of(made, RECORDS)
    assert made.count(batch) == 7
    assert float(made.loss(batch).total.detach()) == pytest.approx(7 * math.log(3), rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_of_a_sentence_do_not_depend_on_its_batch(family: str) -> None:
    made = tag(family)
    alone = [made.logits(batch_of(made, [record])) for record in RECORDS]
    tiny.assert_close(made.logits(batch_of(made, RECORDS)), torch.cat(alone))


@pytest.mark.parametrize("subword", Subword)
def test_the_label_of_a_word_is_at_its_first_or_last_subword(subword: Subword) -> None:
    made = tag(subword=subword)
    batch = batch_of(made, RECORDS[1:])
    tokens = batch.inputs.tokens[batch.word]
    end = 0 if subword is Subword.first else -1
    wanted = [tiny.BYTES.encode(word)[end] for word in RECORDS[1].text]
    assert tokens.tolist() == wanted
    text = "他说hello , Zoë".encode()
    whole = tiny.BYTES.vocab.document(tiny.BYTES.encode(text.decode()).tolist())
    assert batch.inputs.tokens.tolist() == [whole]
    assert [made.labels[i] for i in batch.label] == [*TAGS]


def test_long_sentences_are_cut_between_words_and_lose_none() -> None:
    made = tag(seq_len=12)
    words = (*("abcdefg"[: 1 + i % 7] for i in range(40)), "x" * 30, "y")
    record = Labelled(words, ("O",) * len(words))
    example = made.example(record, rng(0, TRAIN))
    batch = made.collate([example])
    assert max(map(len, example.rows)) <= 12
    assert made.count(batch) == len(words) == int(batch.word.sum())
    firsts = [tiny.BYTES.encode(word)[0] for word in words]
    assert batch.inputs.tokens[batch.word].tolist() == firsts
    assert len(list(made.cuts(record))) == len(example.rows) - 1 > 0
    (answer,) = made.predict([Query(words)])
    assert answer.values["words"] == [*words]
    assert len(answer.values["tags"]) == len(words)


def test_windows_hold_all_words_in_order() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        sizes = draw.integers(1, 9, draw.integers(1, 30)).tolist()
        room = int(draw.integers(3, 20))
        found = windows(sizes, room)
        assert [i for window in found for i in window] == [*range(len(sizes))]
        for window in found:
            assert len(window) == 1 or sum(sizes[i] for i in window) <= room


def test_an_id_of_two_words_is_replaced_by_the_ids_of_each(tmp_path: Path) -> None:
    """Chinese characters as words, with a tokenizer that joins them."""
    import tokenizers

    from etude.data.tokenizer import Tokenizer

    vocab = {piece: i for i, piece in enumerate(["<u>", "你", "好", "你好", "ab", "##c"])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="<u>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(inner)
    assert tokenizer.encode("你好").tolist() == [3]
    assert [one.ids for one in subwords(["你", "好", "abc"], tokenizer)][:2] == [[1], [2]]
    rows, places = word_rows(["abc", "你", "好"], tokenizer, 16, 0)
    text = [row[place] for row, at in zip(rows, places, strict=True) for place in at]
    assert text == [4, 1, 2]


def test_a_word_that_the_tokenizer_drops_has_a_token() -> None:
    found = subwords(["a", "", " ", "b"], tiny.BYTES)
    assert all(one.ids and one.own for one in found)
    made = tag()
    assert made.count(batch_of(made, [Labelled(("a", "", "b"), ("O", "O", "O"))])) == 3


def test_words_of_a_text() -> None:
    text = "Zoë's e-mail, 他说 3.5 (ok)."
    words = ["Zoë's", "e-mail", ",", "他", "说", "3.5", "(", "ok", ")", "."]
    assert split_words(text) == words
    whole, spans = joined(words)
    assert [whole[start:end] for start, end in spans] == words
    assert whole == "Zoë's e-mail ,他说3.5 ( ok ) ."


@pytest.mark.parametrize("prefixes", ["BIO", "BIESO"])
def test_spans_and_their_f1_are_those_of_seqeval_on_random_tags(prefixes: str) -> None:
    """Also on tags that follow no scheme: an inner tag after O, or of another label."""
    draw = np.random.default_rng(0)

    def sentence(n: int) -> list[str]:
        drawn = zip(draw.choice([*prefixes], n), draw.choice(["X", "Y-Z"], n), strict=True)
        return ["O" if prefix == "O" else f"{prefix}-{label}" for prefix, label in drawn]

    lengths = draw.integers(1, 12, 300)
    due, found = ([sentence(n) for n in lengths] for _ in range(2))
    for tags in (*due, *found):
        theirs = [(label, start, end + 1) for label, start, end in get_entities(tags)]
        assert spans_of(tags) == theirs
    metrics = span_metrics(span_sums(found, due))
    wanted = precision_recall_fscore_support(due, found, average="micro")
    assert [metrics[k] for k in ("precision", "recall", "f1")] == pytest.approx(wanted[:3])
    assert metrics["f1"] > 0.1


def test_spans_in_bilou_are_those_of_seqeval() -> None:
    draw = np.random.default_rng(1)
    for _ in range(200):
        tags: list[str] = []
        for _ in range(int(draw.integers(1, 6))):
            n, label = int(draw.integers(0, 5)), "XY"[int(draw.integers(2))]
            inner = [f"B-{label}", *[f"I-{label}"] * (n - 2), f"L-{label}"]
            tags += ["O"] if n == 0 else [f"U-{label}"] if n == 1 else inner
        theirs = [(e.tag, e.start, e.end) for e in Entities([tags], BILOU).entities[0]]
        assert spans_of(tags) == theirs


def test_metrics_without_any_span_are_0() -> None:
    assert span_metrics(span_sums([["O"]], [["O"]])) == {"precision": 0, "recall": 0, "f1": 0}
    assert tags_are_spans(["O", "B-X", "I-X"])
    assert not tags_are_spans(["NOUN", "VERB"])
    assert not tags_are_spans(["O"])


HEADS = {
    "bert": {"out": "classifier"},
    "roberta": {"out": "classifier"},
    "modernbert": {"dense": "head.dense", "norm": "head.norm", "out": "classifier"},
    "gpt2": {"out": "classifier"},
    "llama": {"out": "score"},
}
"""The names of the parts of the head in transformers."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the head is new to transformers
@pytest.mark.parametrize("family", HEADS)
def test_logits_and_loss_agree_with_transformers(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    transform = Transform.gelu if family == "modernbert" else Transform.none
    made = families.objective(family, "tag", labels=LABELS, transform=transform)
    made = randomise(made.double().eval())
    write_model(families.model(made, tmp_path), made.network.state_dict(), tmp_path / "model")
    theirs: Any = AutoModelForTokenClassification.from_pretrained(tmp_path / "model", num_labels=3)
    theirs.double().eval()
    for part, name in HEADS[family].items():
        theirs.get_submodule(name).load_state_dict(made.head.get_submodule(part).state_dict())
    batch = batch_of(made, RECORDS)
    labels = torch.full(batch.word.shape, -100).masked_scatter(batch.word, batch.label)
    mask = (batch.inputs.documents > 0).long()
    with torch.no_grad():
        wanted = theirs(batch.inputs.tokens, attention_mask=mask, labels=labels)
        found = made.logits(batch)
        loss = made.loss(batch).total / made.count(batch)
    torch.testing.assert_close(found, wanted.logits[batch.word], rtol=0, atol=1e-5)
    assert float(loss) == pytest.approx(float(wanted.loss), abs=1e-5)


def test_validation_compares_the_spans_of_all_sentences_however_they_are_cut(
    tmp_path: Path,
) -> None:
    found: list[dict[str, float]] = []
    for cut in (1, 4):
        config = tiny.experiment("tag", tmp_path, trainer={"micro_batch": cut, "max_steps": 1})
        made = tiny.training_parts(config)
        (line,) = tiny.fit(config, made, tmp_path / str(cut))
        found.append({k: v for k, v in line.items() if k.startswith("val/")})
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    samples = [made.validation.samples[i] for i in range(made.validation.n_samples)]
    objective: Any = made.objective.eval()
    answers = objective.predict([Query(sample.text) for sample in samples])
    sides = [[*s.label] for s in samples], [a.values["tags"] for a in answers]
    wanted = precision_recall_fscore_support(*sides, average="micro")
    for name, value in zip(("precision", "recall", "f1"), wanted, strict=False):
        assert found[0][f"val/{name}"] == pytest.approx(value)
    assert found[0]["val/f1"] > 0


def test_a_saved_head_tags_words_and_texts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = tiny.experiment("tag", tmp_path)
    start(replace(config, run=str(run), optimizer=replace(config.optimizer, lr=0.1)), "tiny", [])
    head = read_head(read_model(run))
    text, words = head.predict([Query("ab, 你好"), Query(("ab", ",", "你", "好"))])
    assert text == words
    assert text.values["words"] == ["ab", ",", "你", "好"]
    assert [line.split("\t")[:2] for line in text.lines[:4]] == [
        [*pair] for pair in zip(text.values["words"], text.values["tags"], strict=True)
    ]
    for span in text.values["spans"]:
        assert span["text"] == joined(words.values["words"][span["start"] : span["end"]])[0]
    assert json.loads((run / "model" / "manifest.json").read_text())["facts"]["labels"] == [
        *head.labels
    ]


def test_inspected_tokens_have_their_labels() -> None:
    made = tag(seq_len=10)
    example = made.example(RECORDS[1], rng(0, TRAIN))
    labels = made.token_labels(example)
    assert len(labels) == sum(map(len, example.rows))
    assert [label for label in labels if label] == [*TAGS]


@pytest.mark.parametrize(
    ("record", "page"),
    [
        (Labelled(("x",), ("B-Q",)), "label 'B-Q' of"),
        (Labelled("x", "O"), "Use objective=classify"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(record: Labelled, page: str) -> None:
    with pytest.raises(DataError, match=page):
        tag().select_samples([record])


def test_a_pair_of_texts_is_refused() -> None:
    with pytest.raises(DataError, match="a pair of texts"):
        tag().predict([Query("a", "b")])


@pytest.mark.parametrize("labels", [["a"], ["a", "a"]])
def test_values_outside_their_range_are_refused(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="labels must be"):
        tiny.part("objective", "tag", labels=labels)
