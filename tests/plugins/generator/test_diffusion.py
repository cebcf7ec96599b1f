from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from etude.config.compatibility import check
from etude.config.schema.decoding import DecodingConfig
from etude.errors import CompositionError
from etude.network.decoding import NO_TOKEN, Ancestral, Decoding, Greedy, History
from etude.network.generation import Generation, GenerationOptions, Request, StopStrings

VOCAB = tiny.BYTES.vocab
MASK = VOCAB.mask
NETWORK = tiny.network(tiny.stack("encoder_only", position="rope"), vocab=VOCAB)


def diffusion(**values: Any) -> Any:
    kind = type(tiny.part("generator", "diffusion").order)
    if "order" in values:
        values["order"] = kind(values["order"])
    return tiny.generator("diffusion", **values)


def complete(
    prompts: list[list[int]], n: int = 6, decoding: Decoding | None = None, stop: Any = None,
    **values: Any,
) -> list[Generation]:  # fmt: skip
    requests = [Request(prompt, np.random.default_rng(i), n) for i, prompt in enumerate(prompts)]
    made = diffusion(**values)
    return made.generate(NETWORK, requests, GenerationOptions(decoding or Ancestral(), stop=stop))


class Recorder(Ancestral):
    """Samples, and keeps the histories and the number of passes."""

    def __init__(self) -> None:
        super().__init__()
        self.histories: list[History] = []

    def scores(self, logits: Tensor, history: History) -> Tensor:
        self.histories.append(history)
        return super().scores(logits, history)


def test_masks_are_filled_and_nothing_else() -> None:
    (row,) = complete([[120, MASK, 121, MASK, MASK]])
    assert len(row.ids) == len(row.log_probs) == 3
    assert MASK not in row.ids
    assert not row.ended


def test_a_prompt_without_masks_is_continued() -> None:
    (row,) = complete([[120, 121]], 9)
    assert len(row.ids) <= 9
    assert row.ended == (row.ids[-1] in VOCAB.stops)


def test_one_step_samples_every_mask_from_the_same_pass() -> None:
    recorder = Recorder()
    (row,) = complete([[120, MASK, 121, MASK]], decoding=recorder, steps=1)
    assert len(recorder.histories) == 1
    with torch.no_grad():
        logits = NETWORK(tiny.inputs(NETWORK, torch.tensor([[120, MASK, 121, MASK]])))[0, [1, 3]]
    logits[:, MASK] = -torch.inf
    wanted = logits.log_softmax(-1)[range(2), row.ids]
    tiny.assert_close(torch.tensor(row.log_probs, dtype=torch.float64), wanted)


@pytest.mark.parametrize("order", ["random", "confidence"])
def test_a_revealed_token_is_given_to_the_next_steps(order: str) -> None:
    """With a step for each mask, each log p is that of a pass over the tokens revealed before."""
    prompt = [120, MASK, MASK, MASK, 121]
    recorder = Recorder()
    (row,) = complete([prompt], decoding=recorder, steps=300, order=order)
    assert len(recorder.histories) == 3
    text = torch.tensor([[120, *row.ids, 121]])
    places = [1, 2, 3]
    found = False
    for last in places:  # the token that was revealed last has seen all the others
        given = text.clone()
        given[0, last] = MASK
        with torch.no_grad():
            logits = NETWORK(tiny.inputs(NETWORK, given))[0, last]
        logits[MASK] = -torch.inf
        log_prob = float(logits.log_softmax(-1)[row.ids[last - 1]])
        found |= abs(log_prob - row.log_probs[last - 1]) < 1e-10
    assert found


def test_the_number_of_passes_does_not_depend_on_the_length() -> None:
    recorder = Recorder()
    complete([[120] + [MASK] * 30], decoding=recorder, steps=4)
    assert len(recorder.histories) == 4


def test_random_order_reveals_each_mask_at_a_uniformly_random_step() -> None:
    made = diffusion(steps=5)
    steps = [
        made._canvas(Request([MASK] * 20, np.random.default_rng(i), 1)).steps for i in range(200)
    ]
    counts = np.bincount(np.concatenate(steps), minlength=5)
    assert counts / counts.sum() == pytest.approx([0.2] * 5, abs=0.02)


def test_confidence_reveals_the_most_likely_token_first() -> None:
    greedy = Greedy()
    prompt = [120, MASK, 121, MASK, MASK, 122]
    with torch.no_grad():
        logits = NETWORK(tiny.inputs(NETWORK, torch.tensor([prompt])))[0, [1, 3, 4]]
    logits[:, MASK] = -torch.inf
    log_probs = logits.log_softmax(-1).max(-1)
    first = int(log_probs.values.argmax())
    (row,) = complete([prompt], decoding=greedy, steps=3, order="confidence")
    assert row.ids[first] == int(log_probs.indices[first])
    assert row.log_probs[first] == pytest.approx(float(log_probs.values[first]), abs=1e-10)


def test_the_history_of_a_mask_is_the_text_to_its_left() -> None:
    recorder = Recorder()
    complete([[120, MASK, 121, MASK, 122]], decoding=recorder, steps=1)
    assert recorder.histories[0].tokens.tolist() == [
        [NO_TOKEN, NO_TOKEN, 120],
        [120, NO_TOKEN, 121],
    ]


def test_the_penalties_of_the_decoding_apply() -> None:
    """With one token at a time from the left, no token to the left may be repeated."""
    prompt = [120] + [MASK] * 8
    (plain,) = complete([prompt], decoding=Greedy(), steps=99, order="confidence")
    penalties = DecodingConfig(no_repeat_ngram=1)
    made = diffusion(steps=8, order="confidence")
    requests = [Request(prompt, np.random.default_rng(0), 1)]
    (other,) = made.generate(NETWORK, requests, GenerationOptions(Greedy(penalties)))
    assert plain.ids != other.ids


def test_a_stop_string_cuts_a_continuation() -> None:
    free = complete([[120, 121]], 8)[0].ids
    stop = StopStrings([str(free[3])], lambda ids: " ".join(map(str, ids)))
    row = complete([[120, 121]], 8, stop=stop)[0]
    assert row.ids == free[: 1 + free.index(free[3])]
    assert row.ended


def test_networks_that_read_one_side_are_refused(tmp_path: Any) -> None:
    config = tiny.experiment("clm", tmp_path)
    config.generator = tiny.part("generator", "diffusion")
    with pytest.raises(CompositionError, match="generator=diffusion cannot use") as error:
        check(config)
    assert "Architectures that provide it: encoder_only" in str(error.value)


def test_a_grammar_is_refused(tmp_path: Any) -> None:
    config = tiny.experiment("mdlm", tmp_path)
    config.generator = tiny.part("generator", "diffusion")
    check(config)
    config.decoding = tiny.part("decoding", "grammar")
    with pytest.raises(CompositionError, match="cannot use decoding=grammar: it needs tokens from"):
        check(config)


def test_no_steps_are_an_error() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        diffusion(steps=0)
