import re

import adapters
import numpy as np
import pytest
import tiny

from etude.config.schema.decoding import GeneratorConfig
from etude.network.autoregressive import Autoregressive
from etude.network.generation import Generation, GenerationOptions, Request


def test_it_is_the_generator_of_the_core() -> None:
    assert type(tiny.generator("autoregressive")) is Autoregressive


def test_it_samples_and_runs_in_lockstep() -> None:
    config = tiny.part("generator", "autoregressive")
    assert config.samples
    assert config.lockstep
    assert not GeneratorConfig().lockstep
    assert not tiny.part("generator", "autoregressive", refill=True).lockstep


PROMPTS = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29], [33, 34], [24], [21] * 7, [35, 20]]


def requests() -> list[Request]:
    """Requests of different lengths and limits, one of which wants nothing."""
    limits = (9, 2, 5, 14, 0, 3, 7)
    pairs = enumerate(zip(PROMPTS, limits, strict=True))
    return [Request(prompt, np.random.default_rng(i), n) for i, (prompt, n) in pairs]


@pytest.mark.parametrize(
    ("architecture", "adapter", "mixer", "whole"),
    [
        ("decoder_only", None, "attention", False),
        ("decoder_only", None, "attention", True),
        ("decoder_only", "prefix", "attention", False),
        ("decoder_only", "prompt_tuning", "attention", False),
        ("decoder_only", None, "gated_delta", False),
        ("decoder_only", None, "retention", False),
        ("encoder_decoder", None, "attention", False),
    ],
)
def test_a_refilled_batch_has_the_same_completions_in_fewer_passes(
    architecture: str, adapter: str | None, mixer: str, whole: bool
) -> None:
    made = adapters.network(architecture, adapter, mixer=mixer, position="rope")
    n_passes = 0

    def count(*_: object) -> None:
        nonlocal n_passes
        n_passes += 1

    made.register_forward_hook(count)
    found: list[list[Generation]] = []
    passes: list[int] = []
    for refill in (False, True):
        n_passes = 0
        generator = Autoregressive(refill)
        decoding = tiny.decoding("sample", top_p=0.9, repetition_penalty=1.2)
        found.append(
            generator.generate(
                made, requests(), GenerationOptions(decoding, whole=whole, generation_batch=2)
            )
        )
        passes.append(n_passes)
    for plain, refilled in zip(*found, strict=True):
        assert refilled.ids == plain.ids
        assert refilled.ended == plain.ended
        assert refilled.log_probs == pytest.approx(plain.log_probs, abs=1e-9)
    assert passes[1] < passes[0]


def test_the_state_of_a_decoding_survives_a_refill() -> None:
    """Its grammar continues where the row was."""
    made = tiny.network(vocab=tiny.BYTES.vocab)
    decoding = tiny.decoding("grammar", pattern="[a-f]{2,9}-[0-9]{3}")
    asked = [Request([100 + i], np.random.default_rng(i), 20) for i in range(7)]
    rows = Autoregressive(refill=True).generate(
        made, asked, GenerationOptions(decoding, generation_batch=3)
    )
    texts = [tiny.BYTES.decode(row.ids) for row in rows]
    assert all(re.fullmatch("[a-f]{2,9}-[0-9]{3}", text) for text in texts)
