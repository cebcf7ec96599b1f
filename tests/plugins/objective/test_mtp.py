"""Multi-token prediction: DeepSeek-V3's equations, and next-token loss as in clm."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from etude.data.token_rows import TokenRow
from etude.formats.checkpoint import newest_intact
from etude.network.inputs import Inputs
from etude.plugins.objective.mtp import Heads, later_targets, shifted
from etude.training.run import start

TEXT = tiny.tokens(1, 9, vocab=tiny.BYTES.vocab)


def row(*documents: Tensor) -> TokenRow:
    """A packed row; each document is a row of ids."""
    ids = [np.full(d.shape[1], i) for i, d in enumerate(documents, 1)]
    tokens = torch.cat(documents, 1)[0].numpy()
    return TokenRow(tokens, np.concatenate(ids), float(len(tokens)))


def objective(**values: Any) -> Any:  # the plugin's class
    context = tiny.tools(intra_document=True)
    made = tiny.objective("mtp", tools=context, **values).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.future.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.copy_(0.3 * noise + (0.5 if parameter.ndim == 1 else 0))
    return made.eval()


@pytest.mark.parametrize("n_future", [1, 2, 3])
def test_sequential_modules_follow_the_equations_of_deepseek_v3(n_future: int) -> None:
    """Equations 21 to 24, on the T - k positions that have a token k ahead."""
    made = objective(n_future=n_future, weight=0.6)
    network, n = made.network, TEXT.shape[1] - 1
    found = made.loss(made.collate([row(TEXT)]))
    h = network.states(Inputs(TEXT[:, :-1]))
    main = F.cross_entropy(network.logits(h)[0], TEXT[0, 1:], reduction="sum")
    later = []
    for k, module in enumerate(made.future, 1):
        h = torch.cat(
            [module.norms[0](h[:, : n - k]), module.norms[1](network.embedding(TEXT[:, k:n]))], -1
        )
        h = module.stack(module.join(h), Inputs(TEXT[:, : n - k]))
        later.append(F.cross_entropy(network.logits(h)[0], TEXT[0, k + 1 :], reduction="sum"))
    tiny.assert_close(found.metrics["nll"], main.detach())
    for k, loss in enumerate(later, 2):
        tiny.assert_close(found.metrics[f"nll_{k}"], loss.detach())
        assert int(found.metrics[f"n_{k}"]) == n - k + 1
    tiny.assert_close(found.total, main + 0.6 / n_future * torch.stack(later).sum())


def test_parallel_modules_read_the_states_of_the_network() -> None:
    made = objective(n_future=3, heads=Heads.parallel)
    network, n = made.network, TEXT.shape[1] - 1
    found = made.loss(made.collate([row(TEXT)])).metrics
    h = network.states(Inputs(TEXT[:, :-1]))
    for k, module in enumerate(made.future, 1):
        logits = network.logits(module.stack(h, Inputs(TEXT[:, :-1])))[0, : n - k]
        wanted = F.cross_entropy(logits, TEXT[0, k + 1 :], reduction="sum")
        tiny.assert_close(found[f"nll_{k + 1}"], wanted.detach())


@pytest.mark.parametrize("heads", Heads)
def test_a_packed_row_has_the_sum_of_the_losses_of_its_documents(heads: Heads) -> None:
    made = objective(n_future=2, heads=heads)
    documents = TEXT[:, :4], TEXT[:, 4:6], TEXT[:, 6:]
    packed = made.loss(made.collate([row(*documents)]))
    alone = [made.loss(made.collate([row(one)])) for one in documents]
    tiny.assert_close(packed.total, torch.stack([loss.total for loss in alone]).sum())
    for name, value in packed.metrics.items():
        assert float(value) == pytest.approx(sum(float(one.metrics[name]) for one in alone))


def test_no_prediction_crosses_the_end_of_a_document() -> None:
    targets = objective().collate([row(TEXT[:, :4], TEXT[:, 4:])]).targets
    later = later_targets(targets, 1)
    assert later.where.tolist() == [[True, True, False, False, True, True, True, False]]
    assert later.ids[later.where].tolist() == TEXT[0, [2, 3, 6, 7, 8]].tolist()
    assert shifted(torch.tensor([[1, 2, 3]]), 2).tolist() == [[3, 0, 0]]


@pytest.mark.parametrize("heads", Heads)
def test_a_module_reads_no_token_from_its_target_on(heads: Heads) -> None:
    made = objective(n_future=1, heads=heads)
    batch = made.collate([row(TEXT)])
    embedded: list[Tensor] = []
    made.network.embedding.register_forward_hook(lambda _m, _i, out: embedded.append(kept(out)))
    made.network(batch.targets.inputs, batch.targets.where)
    later = later_targets(batch.targets, 1)
    states = made.future[0](
        made._states.pop(),
        made.network.embedding(shifted(batch.targets.inputs.tokens, 1)),
        batch.targets.inputs,
    )
    at = 3  # predicts token 5 from tokens 0 to 4, or in parallel 0 to 3
    states[0, at].sum().backward()
    read = [
        part.grad[0].any(-1).nonzero().flatten().tolist()
        for part in embedded
        if part.grad is not None
    ]
    assert later.ids[0, at] == TEXT[0, 5]
    assert read == [[0, 1, 2, 3], [0, 1, 2, 3]][: len(read)]  # the second is shifted by one
    assert len(read) == (2 if heads is Heads.sequential else 1)


def kept(out: Tensor) -> Tensor:
    out.retain_grad()
    return out


def test_at_weight_0_a_run_equals_one_of_clm(tmp_path: Path) -> None:
    curves = []
    for name, more in (("clm", {}), ("mtp", {"weight": 0.0, "n_future": 2})):
        config = tiny.experiment(name, tmp_path, **more)
        made = tiny.training_parts(config)
        curves.append(tiny.fit(config, made, tmp_path / name))
    for mine, wanted in zip(curves[1], curves[0], strict=True):
        assert {name: mine[name] for name in ("loss", "grad_norm", "samples")} == {
            name: wanted[name] for name in ("loss", "grad_norm", "samples")
        }
    assert curves[0][-1]["val/loss"] == curves[1][-1]["val/loss"]


def test_the_validation_loss_is_that_of_the_next_token(tmp_path: Path) -> None:
    config = tiny.experiment("mtp", tmp_path, trainer={"max_steps": 1})
    (line,) = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    assert line["val/loss"] == pytest.approx(math.log(line["val/perplexity"]))
    assert line["loss"] > math.log(line["perplexity"])
    assert line["val/nll_2"] > 0


def test_checkpoints_hold_the_modules_and_the_exported_model_does_not(tmp_path: Path) -> None:
    config = tiny.experiment("mtp", tmp_path, trainer={"max_steps": 1})
    run = tmp_path / "run"
    start(replace(config, run=str(run)), "tiny", [])
    saved = newest_intact(run / "checkpoints")
    assert saved is not None
    names = {name for file in saved.rglob("*.safetensors") for name in load_file(file)}
    assert any("future.0.join" in name for name in names)
    exported = load_file(run / "model" / "model.safetensors")
    assert not any("future" in name for name in exported)
    assert not (run / "model" / "heads.safetensors").exists()
    assert json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize(("key", "value"), [("n_future", 0), ("weight", -0.1)])
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "mtp", **{key: value})
