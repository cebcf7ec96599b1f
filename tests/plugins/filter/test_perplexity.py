import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.plugins.filter.perplexity import Perplexity
from etude.records import Record, Text
from etude.training.run import start

TEXTS = ["a", "some text", "你好，世界", "a longer text that needs more than a window " * 4, "b"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a byte-level decoder, trained for two steps."""
    folder = tmp_path_factory.mktemp("perplexity")
    config = tiny.experiment("clm", folder, trainer={"max_steps": 2})
    start(replace(config, run=str(folder / "run")), "tiny", [])
    return folder / "run"


def perplexity(run: Path, **knobs: Any) -> Filter:
    return build(tiny.part("filter", "perplexity", run=str(run), **knobs))


def decisions(made: Filter, texts: list[str]) -> list[Any]:
    records: list[Record] = [Text(text) for text in texts]
    made.observe(records)
    return [made.decide(record) for record in records]


def bits_per_byte(run: Path, text: str) -> float:
    """Bits per byte of a text, one token at a time."""
    model = read_model(run)
    network = model.network().eval()
    ids = [*model.tokenizer.vocab.opening, *model.tokenizer.encode(text).tolist()]
    assert model.seq_len is not None
    nats = 0.0
    for i in range(1, len(ids)):
        first = (i - 1) // model.seq_len * model.seq_len
        prompt = ids[first:i]
        is_last = torch.tensor([[False] * (len(prompt) - 1) + [True]])
        with torch.no_grad():
            logits = network(network.prompt([prompt]), is_last)
        nats -= float(logits[0].log_softmax(0)[ids[i]])
    return nats / math.log(2) / len(text.encode())


def test_the_number_is_bits_per_byte_token_by_token(run: Path) -> None:
    found = decisions(perplexity(run, max_bits=0.001), TEXTS)
    expected = [bits_per_byte(run, text) for text in TEXTS]
    assert [drop.number for drop in found] == pytest.approx(expected, abs=1e-3)
    assert {drop.rule for drop in found} == {"improbable"}


def test_bounds_drop_what_is_outside_them(run: Path) -> None:
    numbers = sorted(bits_per_byte(run, text) for text in TEXTS)
    low, high = ((a + b) / 2 for a, b in ((numbers[0], numbers[1]), (numbers[-2], numbers[-1])))
    found = decisions(perplexity(run, min_bits=low, max_bits=high), TEXTS)
    rules = sorted(drop.rule for drop in found if isinstance(drop, Drop))
    assert rules == ["improbable", "too probable"]


def test_a_score_does_not_depend_on_the_other_documents(run: Path) -> None:
    together = decisions(perplexity(run, max_bits=0.001), TEXTS)
    alone = [decisions(perplexity(run, max_bits=0.001), [text])[0] for text in TEXTS]
    numbers = [[one.number for one in found] for found in (together, alone)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-4)


def test_the_fingerprint_is_that_of_the_model_and_an_encoder_is_refused(
    run: Path, tmp_path: Path
) -> None:
    made = perplexity(run)
    assert isinstance(made, Perplexity)
    assert made.fingerprint() == read_model(run).identity
    assert made.config.teacher == str(run)
    encoder = tiny.experiment("mlm", tmp_path, trainer={"max_steps": 1})
    start(replace(encoder, run=str(tmp_path / "run")), "tiny", [])
    with pytest.raises(ConfigError, match="not a decoder"):
        perplexity(tmp_path / "run")
