from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from etude.config.compatibility import check
from etude.config.schema.decoding import DecodingConfig
from etude.errors import CompositionError
from etude.formats.model import read_model
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Greedy
from etude.network.generation import Generation, GenerationOptions, Generator, Request, StopStrings
from etude.objective.log_probs import token_log_prob

VOCAB = tiny.BYTES.vocab
STOPS = tuple(range(101, VOCAB.size, 3))
"""Many ids end a completion, so that completions of random networks end at different lengths."""


def beam(**values: object) -> Generator:
    return tiny.generator("beam", **values)


def theirs(family: str) -> Any:  # transformers' models are dynamically typed
    ids: dict[str, Any] = {
        "pad_token_id": VOCAB.pad,
        "eos_token_id": VOCAB.eos,
        "bos_token_id": VOCAB.bos,
    }
    if family == "llama":
        sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
        heads: dict[str, Any] = {"num_attention_heads": 4, "tie_word_embeddings": False}
        return LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB.size, **sizes, **heads, **ids))
    sizes: dict[str, Any] = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    start: dict[str, Any] = {"decoder_start_token_id": VOCAB.pad}
    return T5ForConditionalGeneration(T5Config(vocab_size=VOCAB.size, **sizes, **ids, **start))


def saved(made: Any, folder: Path) -> Any:
    """Gives a model random weights, large enough for distributions that differ, and saves it."""
    parity.randomise(made)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 3 if parameter.ndim > 1 else 1
    made.save_pretrained(folder)
    tiny.BYTES.save(folder)
    return made.double()


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize(
    ("beams", "length_penalty", "early_stopping", "penalties"),
    [
        (1, 1.0, False, {}),
        (4, 1.0, False, {}),
        (4, 0.0, "never", {}),
        (3, 2.0, "never", {"no_repeat_ngram": 2}),
        (5, 0.6, True, {"repetition_penalty": 1.4}),
        (2, -1.0, False, {"no_repeat_ngram": 1, "repetition_penalty": 1.2}),
    ],
)
def test_completions_are_those_of_transformers_token_for_token(
    family: str, beams: int, length_penalty: float, early_stopping: Any, penalties: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    made = saved(theirs(family), tmp_path)
    ours = read_model(tmp_path).network().double().eval()
    ours.vocab = replace(ours.vocab, other_stops=STOPS)
    prompts = tiny.tokens(8, 5, vocab=VOCAB)
    answers = made.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        num_beams=beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=list(ours.vocab.stops),
        pad_token_id=VOCAB.pad,
        no_repeat_ngram_size=penalties.get("no_repeat_ngram", 0),
        repetition_penalty=penalties.get("repetition_penalty", 1.0),
    )[:, 1 if family == "t5" else 5 :].tolist()
    search = beam(beams=beams, length_penalty=length_penalty, early_stopping=early_stopping)
    requests = [Request(row, np.random.default_rng(0), 12) for row in prompts.tolist()]
    found = search.generate(ours, requests, GenerationOptions(Greedy(DecodingConfig(**penalties))))
    for row, answer in zip(found, answers, strict=True):
        assert row.ids == answer[: len(row.ids)]
        assert {*answer[len(row.ids) :]} <= {VOCAB.pad, VOCAB.eos}  # they fill up with either
        assert row.ended == (row.ids[-1] in ours.vocab.stops)
    assert beams < 4 or len({len(row.ids) for row in found}) > 1


def complete(search: Generator, n: int = 8, **given: Any) -> list[Generation]:
    requests = [Request([20 + i, 21], np.random.default_rng(i), n) for i in range(3)]
    return search.generate(tiny.network(), requests, GenerationOptions(Greedy(), **given))


def test_one_beam_is_greedy_search() -> None:
    assert [r.ids for r in complete(beam(beams=1))] == [r.ids for r in complete(Autoregressive())]


def test_more_beams_find_a_completion_that_is_at_least_as_likely() -> None:
    one, many = (complete(beam(beams=n, length_penalty=0.0)) for n in (1, 30))
    gains = [sum(b.log_probs) - sum(a.log_probs) for a, b in zip(one, many, strict=True)]
    assert min(gains) >= -1e-9
    assert max(gains) > 0.1


def test_log_probs_are_those_of_the_network() -> None:
    made = tiny.network()
    requests = [Request([20, 21], np.random.default_rng(0), 6)]
    (row,) = beam(beams=3).generate(made, requests, GenerationOptions(Greedy()))
    wanted = token_log_prob(made, made.answer([([20, 21], row.ids)]), 1.0)
    tiny.assert_close(torch.tensor(row.log_probs, dtype=torch.float64), wanted.detach())


def test_a_temperature_changes_no_completion() -> None:
    requests = [Request([20, 21], np.random.default_rng(0), 6)]
    search = beam(beams=4)
    sampled = search.generate(
        tiny.network(), requests, GenerationOptions(tiny.decoding("sample", temperature=0.5))
    )
    assert sampled[0].ids == complete(search, 6)[0].ids


def test_a_stop_string_ends_a_completion() -> None:
    free = complete(beam(beams=3))[0].ids
    stop = StopStrings([str(free[2])], lambda ids: " ".join(map(str, ids)))
    row = complete(beam(beams=3), stop=stop)[0]
    assert row.ended
    assert stop.found_in(row.ids)
    assert not stop.found_in(row.ids[:-1])


def test_rollouts_refuse_a_search(tmp_path: Path) -> None:
    config = tiny.experiment("grpo", tmp_path, reward={"toy": tiny.part("reward", "length")})
    check(config)
    config = replace(config, generator=tiny.part("generator", "beam"))
    with pytest.raises(CompositionError, match="cannot use generator=beam") as error:
        check(config)
    assert "samples of the policy's own distribution" in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("beams", 0), ("early_stopping", "maybe")])
def test_values_out_of_range_are_errors(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        beam(**{key: value})
