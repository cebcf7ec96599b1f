"""Compares our layouts with transformers models that are created in the test."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.core_model_loading import revert_weight_conversion

from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.schema.blocks import StackConfig
from etude.config.schema.decoding import DecodingConfig
from etude.files.run_folder import MODEL
from etude.formats import hugging_face
from etude.formats.frame import frame_of
from etude.formats.model import Model, read_model
from etude.formats.model_folder import write_model
from etude.formats.weight_map import to_theirs
from etude.network.decoding import Greedy
from etude.network.inputs import Inputs
from etude.network.network import Network

FAST = 2
"""Number of shapes in the fast tests; the others are slow tests."""


class InDouble:
    """`torch` with float32 replaced by float64, for modules that cast internally."""

    float32 = float = torch.float64

    def __getattr__(self, name: str) -> Any:  # any attribute of torch
        return getattr(torch, name)


def neutralise(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Replaces the internal float32 casts of a transformers module by float64."""
    patch.setattr(module, "torch", InDouble())
    patch.setattr(torch.Tensor, "float", torch.Tensor.double)


def shapes(n: int) -> Any:
    """Parametrises `seed`; seeds from FAST on are marked slow."""
    marks = [[] if i < FAST else [pytest.mark.slow] for i in range(n)]
    return pytest.mark.parametrize("seed", [pytest.param(i, marks=m) for i, m in enumerate(marks)])


def preset(name: str) -> StackConfig:
    """The architecture of a preset, as Hydra composes it."""
    return deepcopy(_composed(name))


@cache
def _composed(name: str) -> StackConfig:
    config = to_experiment(compose("train", [f"architecture={name}"]).config).architecture
    assert isinstance(config, StackConfig)
    return config


def save_model(theirs: Any, folder: Path) -> Any:  # transformers' models are dynamically typed
    """Gives a model random weights and saves it with a byte tokenizer; returns the model."""
    randomise(theirs)
    theirs.save_pretrained(folder)
    tiny.BYTES.save(folder)
    return theirs


def randomise(theirs: Any) -> None:
    """Gives a model random weights and biases, in eval mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.eval().parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.1 * noise + (parameter.ndim == 1) * 0.5)


def assert_same(model: Model, theirs: Any, tolerance: float) -> None:
    """Logits, loss, gradients and greedy continuations agree, with padded rows."""
    dtype = next(theirs.parameters()).dtype
    ours = model.network().to(dtype).eval()
    ids = tiny.tokens(3, 9, vocab=tiny.BYTES.vocab)
    real = torch.arange(9)[None] < torch.tensor([9, 6, 3])[:, None]
    expected = theirs(input_ids=ids, attention_mask=real.long()).logits
    found = ours(Inputs(ids, real.long()))
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=tolerance)
    losses = [_loss(logits, ids, real) for logits in (found, expected)]
    torch.testing.assert_close(*losses, rtol=0, atol=min(tolerance, 1e-6))
    for loss in losses:
        loss.backward()
    _assert_same_gradients(model, ours, theirs)
    _assert_same_greedy(
        ours, theirs, [row[:n].tolist() for row, n in zip(ids, (9, 6, 3), strict=True)]
    )


def assert_same_mask_filling(model: Model, theirs: Any, tolerance: float) -> None:
    """For encoders: logits, masked-token loss and gradients agree, with padded rows."""
    vocab = model.tokenizer.vocab
    dtype = next(theirs.parameters()).dtype
    ours = model.network().to(dtype).eval()
    real = torch.arange(9)[None] < torch.tensor([9, 6, 3])[:, None]
    ids = tiny.tokens(3, 9, vocab=vocab)
    masked = real & (torch.arange(9)[None] % 3 == 1)
    given = ids.masked_fill(~real, vocab.pad).masked_fill(masked, vocab.mask)
    assert isinstance(model.architecture, StackConfig)
    kinds = torch.arange(9).expand(3, 9) // 2 % max(1, model.architecture.n_segments)
    extra = {"token_type_ids": kinds} if model.architecture.n_segments else {}
    labels = ids.masked_fill(~masked, -100)
    expected = theirs(input_ids=given, attention_mask=real.long(), labels=labels, **extra)
    found = ours(Inputs(given, real.long(), segments=kinds if extra else None))
    torch.testing.assert_close(found[real], expected.logits[real], rtol=0, atol=tolerance)
    loss = F.cross_entropy(found[masked], ids[masked])
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=min(tolerance, 1e-6))
    loss.backward()
    expected.loss.backward()
    _assert_same_gradients(model, ours, theirs)


def assert_same_seq2seq(model: Model, theirs: Any, tolerance: float) -> None:
    """For encoder-decoders: the same, with padded sources and targets; each shifts the targets."""
    vocab = model.tokenizer.vocab
    ours = model.network().to(next(theirs.parameters()).dtype).eval()
    source, target = tiny.tokens(3, 9, vocab=vocab), tiny.tokens(3, 7, vocab=vocab, seed=1)
    seen = torch.arange(9)[None] < torch.tensor([9, 6, 3])[:, None]
    due = torch.arange(7)[None] < torch.tensor([4, 7, 2])[:, None]
    pairs = [
        (a[x].tolist(), b[y].tolist()) for a, x, b, y in zip(source, seen, target, due, strict=True)
    ]
    targets = ours.answer(pairs)
    found = ours(targets.inputs)
    expected = theirs(
        input_ids=source.masked_fill(~seen, vocab.pad),
        attention_mask=seen.long(),
        decoder_attention_mask=due.long(),
        labels=target.masked_fill(~due, -100),
    )
    assert torch.equal(targets.where, due)
    torch.testing.assert_close(found[due], expected.logits[due], rtol=0, atol=tolerance)
    loss = F.cross_entropy(found[targets.where], targets.ids[targets.where])
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=min(tolerance, 1e-6))
    loss.backward()
    expected.loss.backward()
    _assert_same_gradients(model, ours, theirs)
    _assert_same_greedy(ours, theirs, [source for source, _ in pairs])


def assert_round_trip(model: Model, folder: Path, auto: Any = AutoModelForCausalLM) -> None:
    """Our model folder loads in transformers' Auto classes and in ours, with the same results."""
    ours = model.network().eval()
    write_model(model, ours.state_dict(), folder / MODEL)
    theirs, problems = auto.from_pretrained(folder / "model", output_loading_info=True)
    assert not any(problems.values()), problems
    theirs.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    text = "étude writes, and 他们 read"
    frame = frame_of(model)
    framed = [*frame.opening, *model.tokenizer.encode(text).tolist(), *frame.closing]
    assert tokenizer(text)["input_ids"] == framed
    assert tokenizer.eos_token_id == model.tokenizer.vocab.eos
    ids = tiny.tokens(2, 7, vocab=model.tokenizer.vocab)
    extra = {"decoder_input_ids": ids} if theirs.config.is_encoder_decoder else {}
    found = ours(Inputs(ids, source=Inputs(ids) if extra else None))
    torch.testing.assert_close(theirs(ids, **extra).logits, found, rtol=0, atol=1e-5)
    again = read_model(folder / "model")
    assert again.architecture == model.architecture
    for name, tensor in again.network().state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name


def _loss(logits: Tensor, ids: Tensor, real: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1][real[:, 1:]], ids[:, 1:][real[:, 1:]])


def _assert_same_gradients(model: Model, ours: Network, theirs: Any) -> None:
    assert isinstance(model.architecture, StackConfig)
    family, fields = hugging_face.read_fields(model.folder)
    grads = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    found = to_theirs(family.weight_map(model.architecture, fields), grads)
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    expected: dict[str, Any] = revert_weight_conversion(theirs, grads)  # names as in the file
    assert set(found) == set(expected)
    # The gradient of a key bias is only rounding error, so a norm has a lower bound.
    floor = 0.01 * max(grad.norm() for grad in expected.values())
    for name, grad in expected.items():
        rows = found[name].shape[0]
        assert (found[name] - grad[:rows]).norm() <= 1e-5 * max(grad.norm(), floor), name


def _assert_same_greedy(ours: Network, theirs: Any, prompts: list[list[int]]) -> None:
    """Greedy tokens are equal for a batch of prompts, with and without a repetition penalty."""
    both_stacks, width = theirs.config.is_encoder_decoder, max(map(len, prompts))
    # Pad with a prompt token, since transformers penalises the padding as well.
    fill = [[prompt[0]] * (width - len(prompt)) for prompt in prompts]
    rows = [p + f if both_stacks else f + p for p, f in zip(prompts, fill, strict=True)]
    masks = [[1] * len(p) + [0] * (width - len(p)) for p in prompts]
    for penalty in (1.0, 1.3):
        answers = theirs.generate(
            torch.tensor(rows),
            attention_mask=torch.tensor([m if both_stacks else m[::-1] for m in masks]),
            max_new_tokens=32,
            do_sample=False,
            repetition_penalty=penalty,
            eos_token_id=list(ours.vocab.stops),
            pad_token_id=ours.vocab.pad,
        )
        greedy = Greedy(DecodingConfig(repetition_penalty=penalty))
        written = tiny.continuations(ours, prompts, 32, greedy)
        for row, answer in zip(written, answers.tolist(), strict=True):
            found = answer[1 if both_stacks else width :]
            assert row == found[: len(row)]
            assert set(found[len(row) :]) <= {ours.vocab.pad}
