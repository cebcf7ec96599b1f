import json
import multiprocessing
import os
import pickle
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from defaults import default
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config.plugin_files import options
from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import ObjectiveConfig, TextDataConfig
from etude.data import token_rows
from etude.data.complete_tokenizer import complete_tokenizer
from etude.data.corpus import Corpus, prepare, read
from etude.data.data_card import tokenizer_digest
from etude.data.record_file import (
    LEAKED,
    REPEATED,
    RecordFile,
    held_out,
    read_bad_rows,
    read_unused,
    texts_of,
    write_records,
)
from etude.data.token_rows import TokenRow, TokenRows, write_tokens
from etude.data.tokenizer import Tokenizer
from etude.errors import DataError
from etude.files.cache import cached_folder, root
from etude.plugins.data.arithmetic import ArithmeticConfig
from etude.plugins.data.text import TextConfig
from etude.plugins.objective.clm import ClmConfig
from etude.plugins.objective.sft import SftConfig
from etude.plugins.tokenizer.bpe import BpeConfig
from etude.plugins.tokenizer.byte import ByteConfig
from etude.records import (
    CONVERSIONS,
    BadRow,
    Chat,
    Feedback,
    Labelled,
    Message,
    Pair,
    Preference,
    Prompt,
    Question,
    Ranking,
    Record,
    Text,
)

BYTES: Tokenizer = build(ByteConfig()).build(lambda: iter(()))
ASKED = Chat(
    (Message("system", "s"), Message("user", "a", {"name": "Ann"})),
    ({"role": "tool", "messages": [1], "name": "add"},),
)
CALLED = Message("assistant", "", {"tool_calls": [{"role": "x", "messages": [None, 1.5]}]})
TWO_OF_EACH: list[tuple[Record, Record]] = [
    (Text("a\nb 你好"), Text("\u2028")),
    (Pair("source", "target"), Pair("source", "other")),
    (
        Chat((Message("user", "hi"), Message("assistant", "hello"))),
        Chat((Message("assistant", "hello"),)),
    ),
    (
        Chat((*ASKED.messages, CALLED), ASKED.tools),
        Chat((ASKED.messages[1], Message("assistant", "b", learn=False))),
    ),
    (Preference(ASKED, CALLED, "rejected"), Preference("q", "a", Message("assistant", "b"))),
    (Ranking(ASKED, ("best", CALLED)), Ranking("q", (CALLED, "worst"))),
    (Feedback(ASKED, CALLED, 0.25), Feedback("q", CALLED, 1.0)),
    (Prompt(ASKED, "4"), Prompt(Chat(ASKED.messages))),
    (Preference("p", "chosen", "rejected"), Preference("q", "rejected", "chosen")),
    (Ranking("p", ("best", "middle", "worst")), Ranking("q", ("best", "worst"))),
    (Feedback("p", "c", 0.25), Feedback("q", "c", 1.0)),
    (Prompt("2 + 2 =", "4"), Prompt("who?")),
    (Question("q", "a b", ("b",), (2,)), Question("q", "other")),
    (Labelled("text", "label"), Labelled(("two", "words"), ("A", "B"))),
]
documents = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=12)


def write_jsonl(file: Path, texts: list[str]) -> str:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(file)


def rows_of(texts: list[str], folder: Path, seq_len: int, pack: bool) -> list[TokenRow]:
    folder.mkdir(exist_ok=True)
    write_tokens(texts, BYTES, folder)
    rows = TokenRows(folder, TextDataConfig(seq_len=seq_len, pack=pack))
    return [rows[i] for i in range(len(rows))]


@settings(max_examples=100, deadline=None)
@given(texts=documents, seq_len=st.integers(2, 30))
def test_packed_rows_predict_every_token_except_the_first_exactly_once(
    texts: list[str], seq_len: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = rows_of(texts, tmp_path_factory.mktemp("rows"), seq_len, pack=True)
    vocab = BYTES.vocab
    stream = np.concatenate([[vocab.bos, *BYTES.encode(text), vocab.eos] for text in texts])
    assert np.array_equal(np.concatenate([row.tokens[1:] for row in rows]), stream[1:])
    assert [row.tokens[0] for row in rows] == [stream[i * seq_len] for i in range(len(rows))]
    assert all(len(row.tokens) == seq_len + 1 for row in rows[:-1])


@settings(max_examples=100, deadline=None)
@given(texts=documents, seq_len=st.integers(2, 30))
def test_the_bytes_of_packed_rows_sum_to_the_size_of_the_text(
    texts: list[str], seq_len: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = rows_of(texts, tmp_path_factory.mktemp("rows"), seq_len, pack=True)
    size = sum(len(text.encode()) for text in texts)
    assert sum(row.n_bytes for row in rows) == pytest.approx(size, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(texts=documents, seq_len=st.integers(2, 30))
def test_documents_are_numbered_from_one_and_change_at_each_bos(
    texts: list[str], seq_len: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for row in rows_of(texts, tmp_path_factory.mktemp("rows"), seq_len, pack=True):
        starts = row.tokens == BYTES.vocab.bos
        starts[0] = True
        assert np.array_equal(row.documents, np.cumsum(starts))


def test_without_packing_each_document_is_a_row_truncated_at_seq_len(tmp_path: Path) -> None:
    short, long = rows_of(["abc", "你好，世界" * 3], tmp_path, seq_len=10, pack=False)
    vocab = BYTES.vocab
    assert short.tokens.tolist() == [vocab.bos, *BYTES.encode("abc"), vocab.eos]
    assert short.n_bytes == 3
    assert len(long.tokens) == 11
    assert long.n_bytes == pytest.approx(45 * 10 / 46)
    assert set(short.documents) == set(long.documents) == {1}


def test_the_data_card_shows_how_much_of_cut_documents_is_never_read(tmp_path: Path) -> None:
    texts = [f"{i:03} " + "x" * (i % 40) for i in range(200)]
    file = write_jsonl(tmp_path / "a.jsonl", texts)
    config = replace(of_text(file, pack=False), tokenizer=ByteConfig())
    card = prepare(config).card
    beyond = [
        max(0, len(t) - 15) for record in prepare(config).train_records for t in texts_of(record)
    ]
    assert (card.train.cut_documents, card.train.cut_tokens) == (
        sum(n > 0 for n in beyond),
        sum(beyond),
    )
    assert card.train.tokens is not None
    share = sum(beyond) / card.train.tokens
    assert f"{sum(beyond):,} tokens ({share:.1%}) are never read\nval " in str(card)
    assert "never read" not in str(prepare(of_text(file)).card)


@settings(max_examples=100, deadline=None)
@given(texts=documents, length=st.integers(1, 30))
def test_rows_without_bos_and_eos_concatenate_to_the_text(
    texts: list[str], length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    write_tokens(texts, BYTES, folder)
    rows = TokenRows(folder, TextDataConfig(seq_len=8)).without_bos_eos(length)
    found = [rows[i] for i in range(len(rows))]
    stream = np.concatenate([BYTES.encode(text) for text in texts])
    owner = np.repeat(np.arange(len(texts)), [len(BYTES.encode(text)) for text in texts])
    assert np.array_equal(np.concatenate([row.tokens for row in found]), stream)
    assert {len(row.tokens) for row in found[:-1]} <= {length}
    assert sum(row.n_bytes for row in found) == pytest.approx(len(stream))  # one byte per token
    for i, row in enumerate(found):
        owners = owner[i * length : i * length + len(row.tokens)]
        assert np.array_equal(row.documents[1:] != row.documents[:-1], owners[1:] != owners[:-1])


def test_rows_are_pickled_by_path(tmp_path: Path) -> None:
    write_tokens(["some text"] * 1000, BYTES, tmp_path)
    rows = TokenRows(tmp_path, TextDataConfig(seq_len=8))
    packed = pickle.dumps(rows)
    assert len(packed) < 1000
    assert np.array_equal(pickle.loads(packed)[7].tokens, rows[7].tokens)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_the_size_of_the_batches_that_are_encoded_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {i} 文" * (i % 7) for i in range(200)]
    for batch_chars in (1, 50, 10**6):
        monkeypatch.setattr(token_rows, "BATCH_CHARS", batch_chars)
        (tmp_path / str(batch_chars)).mkdir()
        write_tokens(texts, BYTES, tmp_path / str(batch_chars))
    for name in ("tokens", "starts.npy", "sizes.npy", "frame.npy"):
        assert len({(tmp_path / n / name).read_bytes() for n in ("1", "50", "1000000")}) == 1


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(min_size=1, max_size=9), min_size=2, max_size=30, unique=True),
    order=st.randoms(use_true_random=False),
    fraction=st.floats(0.01, 0.99),
)
def test_the_split_is_a_partition_that_does_not_depend_on_order(
    texts: list[str],
    order: "st.random.Random",  # pyright: ignore[reportAttributeAccessIssue]
    fraction: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def split(ordered: list[str]) -> tuple[list[str], list[str]]:
        folder = tmp_path_factory.mktemp("records")
        write_records(map(Text, ordered), folder, fraction)
        train, val = (
            [texts_of(record)[0] for record in RecordFile(folder, Text, held)]
            for held in (False, True)
        )
        return train, val

    train, val = split(texts)
    assert train
    assert val
    assert sorted(train + val) == sorted(texts)
    shuffled = texts.copy()
    order.shuffle(shuffled)
    again = split(shuffled * 2)
    assert (set(again[0]), set(again[1])) == (set(train), set(val))


def test_the_split_keeps_the_fraction() -> None:
    scores = np.random.default_rng(0).random(100_000)
    assert held_out(scores, 0.1).mean() == pytest.approx(0.1, abs=0.005)
    assert np.array_equal(held_out(scores, 0.1), scores < 0.1)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=40),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_a_split_of_few_or_repeated_records_is_as_near_to_the_fraction_as_one_group(
    sizes: list[int], fraction: float, seed: int
) -> None:
    scores = np.repeat(np.random.default_rng(seed).random(len(sizes)), sizes)
    mask = held_out(scores, fraction)
    assert 0 < mask.sum() < len(scores)
    assert len({*scores[mask]} & {*scores[~mask]}) == 0
    off = abs(mask.mean() - fraction) * len(scores)
    assert off <= max(min(sizes), max(sizes) / 2, 0.2 * fraction * len(scores))


@pytest.mark.parametrize("which", [0, 7])
def test_seven_equal_records_of_eight_are_trained_on(which: int) -> None:
    """P19: a threshold on the hashes held out all seven."""
    scores = np.array([0.05] * 7 + [0.95]) if which else np.array([0.95] * 7 + [0.05])
    assert held_out(scores, 0.1).tolist() == [False] * 7 + [True]


def test_the_data_card_shows_the_share_reached_and_why_it_is_not_the_one_asked(
    tmp_path: Path,
) -> None:
    texts = [*["the same block"] * 7, "another block"]
    shown = str(prepare(of_text(write_jsonl(tmp_path / "a.jsonl", texts))).card)
    assert "12.5% of the records and 11.7% of the bytes (data.val_fraction=0.1; equal" in shown
    texts = [f"text {i}" for i in range(100)]
    shown = str(prepare(of_text(write_jsonl(tmp_path / "a.jsonl", texts))).card)
    assert re.search(
        r"val .*1 documents.*, \d+\.0% of the records and .* \(data.val_fraction=0\.1\)\n", shown
    )


def test_the_data_card_counts_the_files_that_were_read_and_names_what_was_not(
    texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / ".git").mkdir()
    for i, name in enumerate(("a.jsonl", "b.jsonl", "table.csv", ".git/c.jsonl")):
        write_jsonl(tmp_path / name, texts[i::4])
    card = prepare(of_text(str(tmp_path))).card
    assert (card.n_files, card.skipped) == (2, {"hidden folders": 1, ".csv files": 1})
    assert "files     2 read\n          not read: hidden folders (1), .csv files (1)\n" in str(card)
    assert "files" not in str(prepare(of_sums(SftConfig())).card)


@pytest.mark.parametrize(
    "make_record",
    [
        lambda prompt, n: Preference(prompt, f"good {n}", "bad"),
        lambda prompt, n: Ranking(prompt, (f"good {n}", "bad")),
        lambda prompt, n: Feedback(prompt, f"good {n}", 1.0),
    ],
)
def test_all_preference_records_of_a_prompt_are_on_the_same_side_of_the_split(
    make_record: Callable[[str, int], Preference | Ranking | Feedback], tmp_path: Path
) -> None:
    records = [make_record(f"{i}?", n) for i in range(40) for n in range(3)]
    write_records(records, tmp_path, 0.5)
    both = (RecordFile(tmp_path, type(records[0]), held) for held in (False, True))
    train, val = ({texts_of(record)[0] for record in side} for side in both)
    assert not train & val
    assert len(train | val) == 40


@pytest.mark.parametrize("both", TWO_OF_EACH, ids=lambda both: type(both[0]).__name__)
def test_every_kind_of_record_is_restored_unchanged(
    both: tuple[Record, Record], tmp_path: Path
) -> None:
    write_records([both[0], BadRow("file:2", "why"), both[1]], tmp_path, 0.5)
    assert list(read_bad_rows(tmp_path)) == [BadRow("file:2", "why")]
    train, val = (RecordFile(tmp_path, type(both[0]), held) for held in (False, True))
    assert {train[0], val[0]} == {*train, *val} == set(both)
    assert pickle.loads(pickle.dumps(train))[0] == train[0]
    assert all(texts_of(record) for record in both)


def of_text(path: str, **knobs: object) -> ExperimentConfig:
    return ExperimentConfig(
        objective=ClmConfig(),
        data=default("data/jsonl", path=path, seq_len=16, **knobs),
        tokenizer=BpeConfig(vocab_size=400),
    )


@pytest.fixture
def texts() -> list[str]:
    return [f"Sentence number {i} says {i * i}. 第{i}句。" for i in range(200)]


def samples(corpus: Corpus) -> list[list[int]]:
    found: list[list[int]] = []
    for side in (corpus.train, corpus.val):
        for i in range(len(side)):
            row = side[i]
            assert isinstance(row, TokenRow)
            found.append(row.tokens.tolist())
    return found


def test_preparing_twice_with_or_without_cache_gives_the_same_digest_and_samples(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = of_text(write_jsonl(tmp_path / "a.jsonl", texts))
    first, warm = prepare(config), prepare(config)
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "elsewhere"))
    cold = prepare(config)
    assert first.card == warm.card == cold.card
    assert samples(first) == samples(warm) == samples(cold)
    assert first.tokenizer.digest == cold.tokenizer.digest


def test_every_change_of_the_samples_changes_the_digest(texts: list[str], tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", texts)
    variants = [
        of_text(path),
        of_text(path, val_fraction=0.2),
        of_text(path, pack=False),
        of_text(write_jsonl(tmp_path / "b.jsonl", texts[1:])),
        ExperimentConfig(
            ClmConfig(), data=default("data/jsonl", path=path, seq_len=16), tokenizer=ByteConfig()
        ),
        ExperimentConfig(
            ClmConfig(), data=default("data/jsonl", path=path, seq_len=17), tokenizer=ByteConfig()
        ),
    ]
    assert len({prepare(config).card.digest for config in variants}) == len(variants)
    write_jsonl(tmp_path / "a.jsonl", texts[2:])
    assert prepare(variants[0]).card.digest != prepare(variants[3]).card.digest


def test_the_digest_depends_on_the_contents_of_files_not_on_their_names(
    texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "corp").mkdir()
    (tmp_path / "link").symlink_to("corp")
    write_jsonl(tmp_path / "corp" / "a.jsonl", texts[:100])
    write_jsonl(tmp_path / "corp" / "b.jsonl", [*texts[100:], ""])
    folder, pattern, link = (
        prepare(of_text(str(tmp_path / path))) for path in ("corp", "c*/*", "link")
    )
    assert folder.card.digest == pattern.card.digest == link.card.digest
    assert samples(folder) == samples(pattern) == samples(link)
    (bad,) = link.card.bad_rows
    assert bad.startswith(f"{tmp_path}/link/b.jsonl:101")


def all_texts(side: Iterable[Record]) -> list[str]:
    return [text for record in side for text in texts_of(record)]


WORDS = ["".join(map(chr, (97 + i // 10, 98 + i % 10, 99 + i % 7))) for i in range(99)]


def test_the_tokenizer_is_trained_on_the_training_split_only(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [f"w{word}x " * 9 for word in WORDS])
    corpus = prepare(of_text(path))
    train = all_texts(corpus.train_records)
    assert not set(train) & set(corpus.val_text())
    alone = build(BpeConfig(vocab_size=400)).build(lambda: iter(train))
    assert alone.digest == corpus.tokenizer.digest
    everything = build(BpeConfig(vocab_size=400)).build(lambda: iter([*train, *corpus.val_text()]))
    assert everything.digest != corpus.tokenizer.digest


def test_a_tokenizer_passed_to_prepare_is_used_unchanged(texts: list[str], tmp_path: Path) -> None:
    config = of_text(write_jsonl(tmp_path / "a.jsonl", texts))
    config.tokenizer = BpeConfig(vocab_size=10_000)
    corpus = prepare(config, BYTES)
    assert corpus.tokenizer is BYTES
    assert corpus.card.train.tokens == sum(
        len(BYTES.encode(text)) + 2 for text in all_texts(corpus.train_records)
    )


def of_sums(objective: ObjectiveConfig) -> ExperimentConfig:
    return ExperimentConfig(
        objective, data=ArithmeticConfig(n_problems=100), tokenizer=ByteConfig()
    )


def test_other_kinds_of_record_are_used_as_samples_unchanged() -> None:
    config = of_sums(default("objective/grpo"))
    corpus = prepare(config)
    assert len(corpus.train) + len(corpus.val) == 100
    assert all(isinstance(corpus.train[i], Prompt) for i in range(len(corpus.train)))
    assert corpus.card.kind == "Prompt"
    assert corpus.card.tokenizer.bytes_per_token == 1


def test_records_are_converted_to_a_kind_that_the_objective_reads() -> None:
    """The split does not change: every objective holds out the same records."""
    sums, chats = prepare(of_sums(default("objective/grpo"))), prepare(of_sums(SftConfig()))
    assert len(chats.val) == len(sums.val)
    for i in range(len(sums.val)):
        turns = Message("user", sums.val[i].prompt), Message("assistant", sums.val[i].answer)
        assert chats.val[i] == Chat(turns)
    assert sums.tokenizer.template is None
    assert chats.tokenizer.template is not None


def test_a_prompt_that_is_a_conversation_becomes_a_chat_of_which_the_answer_is_learned() -> None:
    before = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    chat = CONVERSIONS[Prompt, Chat](Prompt(Chat(before, ({"name": "add"},)), "d"))
    assert isinstance(chat, Chat)
    assert [m.content for m in chat.messages if m.role == "assistant" and m.learn] == ["d"]
    assert chat.tools == ({"name": "add"},)
    with pytest.raises(DataError, match="is a conversation"):
        CONVERSIONS[Prompt, Pair](Prompt(Chat(before), "d"))


def test_the_parts_of_rows_that_are_not_used_and_notes_are_in_the_data_card(tmp_path: Path) -> None:
    said = [{"role": role, "content": f"{role} {{}}"} for role in ("user", "assistant", "system")]
    rows = [{"messages": json.loads(json.dumps(said).replace("{}", str(i)))} for i in range(20)]
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps(row | {"id": 1}) + "\n" for row in rows))
    data = default("data/jsonl_chats", path=str(file))
    card = prepare(ExperimentConfig(objective=SftConfig(), data=data, tokenizer=ByteConfig())).card
    assert card.unused == {"field 'id'": 20}
    assert list(card.noted.values()) == [20, 20]
    assert "not used  field 'id' of 20 rows" in str(card)
    assert "note      a system message after the first message is kept where it stands: 20" in str(
        card
    )


def test_a_prompt_without_an_answer_cannot_be_converted() -> None:
    with pytest.raises(DataError, match="has no reference answer"):
        CONVERSIONS[Prompt, Chat](Prompt("Why?"))


def test_the_data_card_counts_and_lists_bad_rows(texts: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write_jsonl(file, texts)
    with file.open("a") as opened:
        opened.write("{}\n" * 30)
    card = prepare(of_text(str(file))).card
    assert card.train.records + card.val.records == len(texts)
    assert (card.train.bytes or 0) + (card.val.bytes or 0) == sum(len(t.encode()) for t in texts)
    assert (card.n_bad, len(card.bad_rows)) == (30, 20)
    assert f"{file}:201: no field 'text'" in str(card)
    assert "and 10 more" in str(card)
    card.save(tmp_path)
    assert json.loads((tmp_path / "data_card.json").read_text())["digest"] == card.digest


def test_strict_rejects_bad_rows_that_are_otherwise_skipped(
    texts: list[str], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*texts, ""])
    assert prepare(of_text(path)).card.n_bad == 1
    with pytest.raises(DataError, match=r"a\.jsonl:201: field 'text' is empty"):
        prepare(of_text(path, strict=True))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [([], "no usable record"), ([""], "no usable record"), (["one"] * 3, "one distinct record")],
)
def test_data_without_records_to_train_on_or_hold_out_is_rejected(
    texts: list[str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=reason):
        prepare(of_text(write_jsonl(tmp_path / "a.jsonl", texts)))


def test_a_chinese_novel_in_one_line_can_be_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "novel.txt"
    file.write_text("".join(f"第{i}回，他说了第{i}句话。" for i in range(1000)), encoding="utf-8")
    data = TextConfig(path=str(file), seq_len=64)
    corpus = prepare(ExperimentConfig(ClmConfig(), data=data, tokenizer=BpeConfig(vocab_size=600)))
    both = [*all_texts(corpus.train_records), *corpus.val_text()]
    assert sorted("".join(both)) == sorted(file.read_text(encoding="utf-8"))
    assert corpus.card.tokenizer.round_trip == 1


def _slow_write(folder: Path) -> None:
    (folder / "who").write_text(str(os.getpid()))
    with (root() / "writers").open("a") as opened:
        opened.write("x")


def _read_cached(name: str) -> str:
    return (cached_folder(name, _slow_write) / "who").read_text()


def test_concurrent_processes_create_a_cached_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        answers = pool.map(_read_cached, ["kind/one"] * 8)
        pool.close()  # a worker may have inherited a handler that ignores SIGTERM
        pool.join()
    assert len(set(answers)) == 1
    assert (tmp_path / "writers").read_text() == "x"


def test_an_interrupted_cache_entry_is_recreated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    (tmp_path / "kind" / ".one.tmp").mkdir(parents=True)
    (tmp_path / "kind" / ".one.tmp" / "junk").write_text("half")

    def fail(folder: Path) -> None:
        raise DataError("nothing there")

    with pytest.raises(DataError):
        cached_folder("kind/one", fail)
    folder = cached_folder("kind/one", lambda folder: (folder / "done").touch())
    assert {file.name for file in folder.iterdir()} == {"done", "manifest.json"}


@pytest.mark.parametrize("template", [None, *options("template")])
@pytest.mark.parametrize("tokenizer", ["byte", "bpe", "unigram", "wordpiece"])
def test_a_saved_tokenizer_is_already_complete(
    tokenizer: str, template: str | None, tmp_path: Path
) -> None:
    """So a resumed run has exactly the tokenizer in its folder."""
    config = tiny.experiment("sft", tmp_path)
    config.template = None if template is None else tiny.part("template", template)
    size = {} if tokenizer == "byte" else {"vocab_size": 400}
    made = build(default(f"tokenizer/{tokenizer}", **size))
    complete = complete_tokenizer(made.build(lambda: iter(["low lower lowest"] * 99)), config)
    complete.save(tmp_path)
    again = complete_tokenizer(Tokenizer.load(tmp_path), config)
    assert tokenizer_digest(again) == tokenizer_digest(complete)


def test_held_out_files_are_the_validation_side_and_never_trained_on(tmp_path: Path) -> None:
    for name, texts in {"a.jsonl": "abc", "b.jsonl": "de", "val.jsonl": "xaa"}.items():
        (tmp_path / name).write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    config = default("data/jsonl", path=str(tmp_path), val_path=str(tmp_path / "val.jsonl"))
    records = read(config)
    assert [*records.train] == [Text(text) for text in "abcde"]
    assert [*records.val] == [Text(text) for text in "xaa"]
    _, noted = read_unused(records.folder)
    assert noted == {REPEATED: 2, LEAKED: 2}
    assert len(records.files.paths) == 3
    other = replace(config, val_path=str(tmp_path / "b.jsonl"))
    assert [*read(other).val] == [Text("d"), Text("e")]
    assert read(other).digest != records.digest
    shown = str(prepare(ExperimentConfig(ClmConfig(), data=config, tokenizer=ByteConfig())).card)
    assert "37.5% of the records" in shown
    assert "(the split of the source)" in shown


def test_a_split_without_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a"}\n')
    (tmp_path / "bad.jsonl").write_text("{\n")
    config = default("data/jsonl", path=str(file), val_path=str(tmp_path / "bad.jsonl"))
    with pytest.raises(DataError, match=r"The validation split has no usable record \(1 bad rows"):
        read(config)
    with pytest.raises(DataError, match="holds out every file"):
        read(replace(config, val_path=str(file)))
    with pytest.raises(ValueError, match=r"no effect with data\.val_path"):
        replace(config, val_fraction=0.2)
