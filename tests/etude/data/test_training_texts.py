import json
import random
import re
from pathlib import Path
from time import process_time

import pytest
from defaults import default
from hypothesis import given, settings
from hypothesis import strategies as st
from row_files import reader

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare
from etude.data.training_texts import MAX_WORD_CHARS, TrainingTexts
from etude.plugins.objective.clm import ClmConfig
from etude.plugins.tokenizer.bpe import BpeConfig

RUNS = st.tuples(st.sampled_from("a1_ \n.,é中😀"), st.sampled_from([1, 3, 255, 256, 257, 513, 900]))
texts = st.lists(RUNS, max_size=8).map(lambda runs: "".join(sign * n for sign, n in runs))


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_no_word_is_longer_than_the_limit_and_no_character_is_lost(text: str) -> None:
    parts = list(TrainingTexts(lambda: iter([text]))())
    assert "".join(parts) == text
    words = [word for part in parts for word in re.findall(r"\w+|\s+|[^\w\s]+", part)]
    assert max(map(len, words), default=0) <= MAX_WORD_CHARS


def test_only_long_words_are_cut_and_each_is_counted_once_a_pass() -> None:
    normal = "Plain words, and 中文没有空格。" * 500
    long = f"DNA {'acgt' * 1000} ends here, {'=' * 300}"
    training = TrainingTexts(lambda: iter([normal, long, normal]))
    for _ in range(2):
        first, *cut, last = training()
        assert first == last == normal
        assert "".join(cut) == long
        assert training.n_cut_words == 2


@pytest.mark.parametrize("name", ["bpe", "wordpiece"])
def test_training_takes_time_linear_in_the_length_of_a_word(name: str) -> None:
    source = build(default(f"tokenizer/{name}", vocab_size=512))

    def seconds(text: str) -> float:
        begin = process_time()
        source.build(TrainingTexts(lambda: iter([text])))
        return process_time() - begin

    text = "".join(random.Random(0).choices("acgtklmn", k=160_000))
    assert seconds(text) < 24 * seconds(text[:20_000])  # if it were quadratic: 64


def test_the_data_card_says_how_many_words_were_cut_to_train_the_tokenizer(tmp_path: Path) -> None:
    draw = random.Random(0)
    documents = ["".join(draw.choices("acgt", k=2000)) for _ in range(10)]
    file = tmp_path / "dna.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    config = ExperimentConfig(
        ClmConfig(), data=reader("text", file), tokenizer=BpeConfig(vocab_size=400)
    )
    trained, cached = prepare(config), prepare(config)
    for corpus in (trained, cached):
        assert corpus.card.tokenizer.cut_words == corpus.card.train.records == 9
        assert "9 words longer than 256 characters were cut, only to train" in str(corpus.card)
    assert prepare(config, trained.tokenizer).card.tokenizer.cut_words == 0
