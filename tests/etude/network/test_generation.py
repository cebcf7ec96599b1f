from typing import Any

import adapters
import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from etude.config.schema.decoding import DecodingConfig
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Ancestral, Decoding, Greedy, History, sample_token
from etude.network.generation import Generation, GenerationOptions, Request, StopStrings
from etude.objective.log_probs import token_log_prob

EOS = tiny.VOCAB.eos


class Scripted(Decoding):
    """Returns scripted tokens; the last prompt token of a request selects its script."""

    def __init__(self, *rows: list[int]) -> None:
        self.rows = rows
        self.step = 0
        self.sizes: list[int] = []

    def scores(self, logits: Tensor, history: History) -> Tensor:
        seen = history.seen(logits.shape[1])
        self.scripts = seen[:, 20 : 20 + len(self.rows)].long().argmax(dim=1).tolist()
        return logits

    def choose(self, scores: Tensor, draw: Tensor) -> Tensor:
        tokens = [self.rows[i][min(self.step, len(self.rows[i]) - 1)] for i in self.scripts]
        self.step += 1
        self.sizes.append(len(tokens))
        return torch.tensor(tokens)


def scripted(n: int, *rows: list[int]) -> tuple[Scripted, list[Generation]]:
    decoding = Scripted(*rows)
    rngs = map(np.random.default_rng, range(len(rows)))
    requests = [Request([20 + i], rng, n) for i, rng in enumerate(rngs)]
    return decoding, Autoregressive().generate(
        tiny.network(), requests, GenerationOptions(decoding)
    )


def test_a_row_ends_with_eos_while_the_others_continue() -> None:
    _, written = scripted(5, [30, EOS, 31], [30, 31, 32, 33, 34])
    assert [row.ids for row in written] == [[30, EOS], [30, 31, 32, 33, 34]]
    assert [row.ended for row in written] == [True, False]


def test_generation_stops_when_all_rows_have_ended() -> None:
    decoding, written = scripted(50, [30, EOS], [EOS])
    assert [row.ids for row in written] == [[30, EOS], [EOS]]
    assert decoding.step == 2


def test_finished_rows_leave_the_batch_once_they_are_half_of_it() -> None:
    rows = [[30] * n + [EOS] for n in (5, 0, 2, 0, 1, 6, 0)]
    decoding, written = scripted(50, *rows)
    assert [row.ids for row in written] == rows
    assert decoding.sizes == [7, 7, 3, 3, 3, 3, 1]


def test_every_request_has_its_own_limit() -> None:
    requests = [Request([20, 21], np.random.default_rng(0), n) for n in (3, 0, 5)]
    written = Autoregressive().generate(tiny.network(), requests, GenerationOptions(Greedy()))
    assert [len(row.ids) for row in written] == [3, 0, 5]
    assert written[0].ids == written[2].ids[:3]
    assert Autoregressive().generate(tiny.network(), [], GenerationOptions(Greedy())) == []


def test_a_stop_string_is_found_across_token_boundaries() -> None:
    text = "ab</answer>c"
    for pieces in (list(text), ["ab<", "/ans", "wer>c"], [text], ["ab", "</answer>", "c"]):
        stop = StopStrings(["\n\n", "</answer>"], lambda ids, p=pieces: "".join(p[i] for i in ids))
        reached = [stop.found_in(range(n)) for n in range(len(pieces) + 1)]
        wanted = ["</answer>" in "".join(pieces[:n]) for n in range(len(pieces) + 1)]
        assert reached == wanted
    assert not StopStrings([], lambda ids: "a").found_in([1])


def test_a_row_ends_with_the_token_that_completes_a_stop_string() -> None:
    made, rng = tiny.network(), np.random.default_rng
    requests = [Request([20 + i], rng(i), 9) for i in range(4)]
    free = [
        row.ids for row in Autoregressive().generate(made, requests, GenerationOptions(Ancestral()))
    ]
    pair = " ".join(map(str, free[2][3:5]))
    stop = StopStrings([pair], lambda ids: " ".join(map(str, ids)))
    requests = [Request([20 + i], rng(i), 9) for i in range(4)]
    for row, ids in zip(
        Autoregressive().generate(made, requests, GenerationOptions(Ancestral(), stop=stop)),
        free,
        strict=True,
    ):
        ends = [n for n in range(1, len(ids) + 1) if stop.found_in(ids[:n])]
        assert row.ids == ids[: min(ends, default=len(ids))]
        assert row.ended == bool(ends or EOS in ids)


@pytest.mark.parametrize("architecture", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize(
    "decoding",
    [
        Greedy(DecodingConfig(repetition_penalty=1.3)),
        Ancestral(0.7),
        tiny.decoding("sample", top_k=9, top_p=0.9, repetition_penalty=1.2),
    ],
)
def test_log_probs_are_those_of_the_distribution_that_was_sampled(
    architecture: str, decoding: Decoding
) -> None:
    made = tiny.network(tiny.stack(architecture))
    prompts = [[20, 21, 22], [30]]
    requests = [Request(p, np.random.default_rng(i), 6) for i, p in enumerate(prompts)]
    for prompt, row in zip(
        prompts, Autoregressive().generate(made, requests, GenerationOptions(decoding)), strict=True
    ):
        targets = made.answer([(prompt, row.ids)])
        logits = made(targets.inputs, targets.where).detach()
        held = targets.inputs.tokens[0].tolist()
        held = held[: len(held) - len(row.ids) + 1]  # what stands before the first new token
        for i, token in enumerate(row.ids):
            history = tiny.history(held + row.ids[:i])
            log_prob = decoding.scores(logits[i : i + 1], history).log_softmax(-1)[0, token]
            tiny.assert_close(torch.tensor(row.log_probs[i], dtype=torch.float64), log_prob)


def test_without_truncation_log_probs_equal_those_of_training() -> None:
    made, prompt = tiny.network(), [20, 21, 22]
    (row,) = Autoregressive().generate(
        made, [Request(prompt, np.random.default_rng(0), 8)], GenerationOptions(Ancestral(0.7))
    )
    trained = token_log_prob(made, made.answer([(prompt, row.ids)]), 0.7)
    tiny.assert_close(torch.tensor(row.log_probs, dtype=torch.float64), trained.detach())


def test_ancestral_samples_follow_the_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, dtype=torch.float64)
    n = 2000
    draws = (torch.arange(n) + 0.5) / n
    decoding = Ancestral(0.7)
    rows = logits.expand(n, -1)
    chosen = decoding.choose(decoding.scores(rows, tiny.history(*[[]] * n)), draws)
    shares = torch.bincount(chosen, minlength=7) / n
    torch.testing.assert_close(shares.double(), (logits / 0.7).softmax(0), rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2**-53])
def test_a_token_with_probability_0_is_never_sampled(draw: float) -> None:
    scores = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    assert int(sample_token(scores, torch.tensor([draw], dtype=torch.float64))) in (1, 3)


def test_a_sample_is_a_function_of_its_random_generator() -> None:
    made, prompts = tiny.network(), [[20, 21]] * 2
    first, second = tiny.continuations(made, prompts, 5, Ancestral())
    assert [first, second] == tiny.continuations(made, prompts, 5, Ancestral())
    assert first != second
    assert len({tuple(row) for row in tiny.continuations(made, prompts, 5)}) == 1


PROMPTS = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29], [33, 34]]


def requests(prompts: list[list[int]], n: int = 12) -> list[Request]:
    """Requests that each have their own seed and limit."""
    return [Request(p, np.random.default_rng(p), n - len(p)) for p in prompts]


NEAR = {"queries_per_kv": 2, "window": 4}


@pytest.mark.parametrize(
    ("stack", "kind", "mixer", "values"),
    [
        ("decoder_only", "lora", "attention", NEAR),
        ("decoder_only", "prefix", "attention", NEAR),
        ("decoder_only", "prompt_tuning", "attention", {}),
        ("decoder_only", None, "retention", {}),
        ("encoder_decoder", "lora", "attention", NEAR),
        ("encoder_decoder", "prefix", "attention", {}),
    ],
)
def test_samples_do_not_depend_on_the_rest_of_the_batch_or_its_size(
    stack: str, kind: str | None, mixer: str, values: dict[str, int]
) -> None:
    """Rows of different lengths end at different times, so that some are dropped."""
    mixed = tiny.part("architecture/mixer", mixer, **values)
    made = adapters.network(stack, kind, mixer=mixed, position="rope")
    decoding = tiny.decoding("sample", top_p=0.9, repetition_penalty=1.2)
    wanted = Autoregressive().generate(
        made, requests(PROMPTS), GenerationOptions(decoding, generation_batch=1)
    )
    assert len({len(row.ids) for row in wanted}) > 1
    for generation_batch in (2, 3, None):
        found = Autoregressive().generate(
            made, requests(PROMPTS), GenerationOptions(decoding, generation_batch=generation_batch)
        )
        assert [row.ids for row in found] == [row.ids for row in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-10)


@pytest.mark.parametrize("stack", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("kind", [None, "lora", "prefix"])
def test_in_bf16_greedy_tokens_do_not_depend_on_the_rest_of_the_batch(
    stack: str, kind: str | None
) -> None:
    made = adapters.network(stack, kind).float()
    with torch.autocast("cpu", torch.bfloat16):
        wanted = Autoregressive().generate(
            made, requests(PROMPTS), GenerationOptions(Greedy(), generation_batch=1)
        )
        found = Autoregressive().generate(made, requests(PROMPTS), GenerationOptions(Greedy()))
    assert [row.ids for row in found] == [row.ids for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=0.1)


def test_a_compiled_network_generates_uncompiled_with_equal_results() -> None:
    """Otherwise every length of the cache would be compiled."""
    made, compiled, graphs = tiny.network(), tiny.network(), list[object]()

    def counting(graph: torch.fx.GraphModule, _: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph

    compiled.compile(backend=counting)
    found = Autoregressive().generate(compiled, requests(PROMPTS), GenerationOptions(Greedy()))
    assert not graphs
    assert [row.ids for row in found] == [
        row.ids
        for row in Autoregressive().generate(made, requests(PROMPTS), GenerationOptions(Greedy()))
    ]


def test_the_settled_part_of_a_text_never_ends_in_the_beginning_of_a_stop_string() -> None:
    stop = StopStrings(["</s>", "sun"], lambda ids: "")
    assert stop.settled_text("a <") == "a "
    assert stop.settled_text("a </s") == "a "
    assert stop.settled_text("a </b") == "a </b"
    assert stop.settled_text("the su") == "the "
    assert stop.settled_text("the sun set") == "the "
    assert stop.before("the su") == "the su"


def test_a_generator_reports_nothing_by_default() -> None:
    assert Autoregressive().summary() is None
