from collections import Counter
from pathlib import Path

import adapters
import numpy as np
import pytest
import tiny
import torch

from etude.config.schema.decoding import DecodingConfig
from etude.errors import ConfigError
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Ancestral, Decoding, Greedy
from etude.network.generation import GenerationOptions, Request, StopStrings
from etude.network.network import Network
from etude.objective.log_probs import token_log_prob
from etude.plugins.generator.speculative import Speculative, next_token

EOS = tiny.VOCAB.eos


def speculative(draft: Network, n: int = 3) -> Speculative:
    """The generator with a draft network that needs no folder."""
    made = Speculative.__new__(Speculative)
    made.config = tiny.part("generator", "speculative", draft="", draft_tokens=n)
    made.draft = draft
    made.n_passes = made.n_tokens = made.n_drafted = made.n_kept = 0
    return made


def near(made: Network) -> Network:
    """A network that often agrees with another one."""
    draft = tiny.network()
    draft.load_state_dict(made.state_dict())
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in draft.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator).double()
    return draft


def requests(n: int = 14) -> list[Request]:
    prompts = ([20, 21, 22], [30], [25, 20, 36, 31])
    return [Request(p, np.random.default_rng(i), n - i) for i, p in enumerate(prompts)]


@pytest.mark.parametrize(
    "decoding", [Greedy(), Greedy(DecodingConfig(repetition_penalty=1.3, no_repeat_ngram=2))]
)
@pytest.mark.parametrize(
    ("architecture", "adapter", "mixer"),
    [
        ("decoder_only", None, "attention"),
        ("decoder_only", "prompt_tuning", "attention"),
        ("decoder_only", None, "retention"),
        ("decoder_only", None, "gated_delta"),
        ("encoder_decoder", None, "attention"),
    ],
)
def test_greedy_text_is_the_same_with_any_draft(
    decoding: Decoding, architecture: str, adapter: str | None, mixer: str
) -> None:
    made = adapters.network(architecture, adapter, mixer=mixer, position="rope")
    other = adapters.network(architecture, adapter, mixer=mixer, position="rope")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.02
    wanted = [
        row.ids for row in Autoregressive().generate(made, requests(), GenerationOptions(decoding))
    ]
    for draft, n in ((made, 3), (other, 3), (other, 1), (other, 20)):
        found = speculative(draft, n).generate(made, requests(), GenerationOptions(decoding))
        assert [row.ids for row in found] == wanted


def test_a_perfect_draft_needs_one_pass_for_each_block() -> None:
    made = tiny.network()
    generator = speculative(made, 3)
    (row,) = generator.generate(
        made, [Request([20], np.random.default_rng(0), 12)], GenerationOptions(Ancestral())
    )
    assert generator.n_passes == -(-len(row.ids) // 4)
    assert generator.n_kept == len(row.ids) - generator.n_passes
    assert "0.25 per token" in str(generator.summary())


def test_log_probs_are_those_of_the_model_and_not_of_the_draft() -> None:
    made = tiny.network()
    (row,) = speculative(near(made)).generate(
        made, requests()[:1], GenerationOptions(Ancestral(0.7))
    )
    wanted = token_log_prob(made, made.answer([([20, 21, 22], row.ids)]), 0.7)
    tiny.assert_close(torch.tensor(row.log_probs, dtype=torch.float64), wanted.detach())


def test_a_kept_or_redrawn_token_follows_the_distribution_of_the_model() -> None:
    """Exactly: the sum over all drafts and a grid of acceptances and redraws, per token."""
    p = torch.tensor([0.1, 0.5, 0.0, 0.4], dtype=torch.float64)
    q = torch.tensor([0.4, 0.2, 0.4, 0.0], dtype=torch.float64)
    grid = (np.arange(40) + 0.5) / 40
    found = torch.zeros(4, dtype=torch.float64)
    for drafted in range(3):
        for accept in grid:
            for redraw in grid:
                token, _ = next_token(p, q, drafted, accept, redraw)
                found[token] += q[drafted] / len(grid) ** 2
    torch.testing.assert_close(found, p, rtol=0, atol=0.01)


@pytest.mark.slow
def test_samples_follow_the_distribution_of_the_model() -> None:
    """Frequencies of the first three tokens together, against the exact probabilities."""
    made = tiny.network()
    decoding = tiny.decoding("sample", top_k=2, temperature=1.5)
    n = 500
    asked = [Request([20, 21], np.random.default_rng(i), 3) for i in range(n)]
    rows = speculative(near(made), 2).generate(made, asked, GenerationOptions(decoding))
    for ids, count in Counter(tuple(row.ids) for row in rows).items():
        text = [20, 21, *ids]
        p = 1.0
        for i, token in enumerate(ids):
            logits = made(made.prompt([text[: 2 + i]]))[:, -1].detach()
            p *= float(decoding.scores(logits, tiny.history(text[: 2 + i])).softmax(-1)[0, token])
        assert abs(count / n - p) < 5 * (p * (1 - p) / n) ** 0.5, ids


def test_a_stop_string_ends_a_completion() -> None:
    made = tiny.network()
    free = speculative(made).generate(made, requests()[:1], GenerationOptions(Greedy()))[0].ids
    stop = StopStrings([str(free[4])], lambda ids: " ".join(map(str, ids)))
    row = speculative(made).generate(made, requests()[:1], GenerationOptions(Greedy(), stop=stop))[
        0
    ]
    assert row.ids == free[: 1 + free.index(free[4])]
    assert row.ended


def test_the_draft_must_have_the_tokenizer_of_the_model(tmp_path: Path) -> None:
    run = str(tiny.trained_run(tmp_path))
    made = tiny.generator("speculative", draft=run)
    (row,) = made.generate(
        tiny.network(vocab=tiny.BYTES.vocab), requests()[:1], GenerationOptions(Greedy())
    )
    assert row.ids
    other = tiny.BYTES.with_template("{{ messages }}", {})
    with pytest.raises(ConfigError, match="has another tokenizer"):
        Speculative(tiny.part("generator", "speculative", draft=run), other)
