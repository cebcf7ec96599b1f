"""Shows that with init=mup the best learning rate does not depend on width.

    python bench/mup.py

A decoder of several widths memorises the same rows of text, in full-batch steps of AdamW at several
rates: once with init=scaled and once with init=mup, whose base is the smallest width (there, both
are the same). Everything else is equal. Writes docs/mup.md and docs/mup.svg.
"""

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
import torch

from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.data.corpus import Corpus
from etude.objective.ranks import Ranks
from etude.training.assemble import assemble
from etude.training.run import quiet
from etude.training.run_corpus import corpus_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTHS = (64, 128, 256)
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
INITS = ("scaled", "mup")
N_STEPS, N_LAST = 25, 5
"""Steps of a run, and how many of the last ones the loss is averaged over."""
SEEDS = (0, 1, 2)
SETTING = (
    "tokenizer=byte", "architecture.n_layers=2", "architecture.n_heads=4", "data.seq_len=32",
    "schedule=constant", "schedule.warmup_steps=5", "trainer.global_batch=8",
    "trainer.micro_batch=8", "architecture.init.std=0.1", f"trainer.max_steps={N_STEPS}",
)  # fmt: skip
Losses = Mapping[int, Mapping[float, float]]
"""Training loss in nats per byte, mean over seeds, by width and rate."""


def init_of(init: str, width: int) -> str:
    """Returns the initialisation to use: at the base width, both are the same."""
    return init if width > WIDTHS[0] else INITS[0]


def main() -> int:
    torch.set_num_threads(1)
    quiet()
    losses = {
        init: {
            width: {
                rate: fmean(loss(init_of(init, width), width, rate, seed) for seed in SEEDS)
                for rate in RATES
            }
            for width in WIDTHS
        }
        for init in INITS
    }
    draw(losses)
    (DOCS / "mup.md").write_text(page(losses), encoding="utf-8")
    return 0


@cache
def corpus() -> Corpus:
    """Returns the text, which is the same for all runs."""
    return corpus_of(to_experiment(compose("train", SETTING).config))


@cache
def loss(init: str, width: int, rate: float, seed: int) -> float:
    """Trains on one global batch; returns the mean loss over the last steps."""
    own = [f"architecture/init={init}", f"architecture.dim={width}", f"optimizer.lr={rate:g}"]
    own += [f"architecture.init.base_dim={WIDTHS[0]}"] if init == "mup" else []
    config = to_experiment(compose("train", [*SETTING, *own, f"seed={seed}"]).config)
    parts = assemble(config, corpus(), Ranks())
    batch = next(iter(parts.loader)).batch
    objective = parts.objective
    optimizer, factor = objective.tools.optimizer(objective)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    found: list[float] = []
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        mean = objective.loss(batch).total / objective.count(batch)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), config.trainer.clip or 1.0)
        optimizer.step()
        schedule.step()
        found.append(float(mean.detach()))
    print(init, width, rate, seed, f"{fmean(found[-N_LAST:]):.4f}", flush=True)
    return fmean(found[-N_LAST:])


def page(losses: Mapping[str, Losses]) -> str:
    """Returns the document."""
    lines = [
        "# muP: the rate of a narrow network for a wide one",
        "",
        "Written by `bench/mup.py`; its header has the rules. "
        f"AdamW, {N_STEPS} steps on 8 rows of 32 bytes; training loss in nats per byte, mean of "
        f"the last {N_LAST} steps and of {len(SEEDS)} seeds. The lowest of each line is bold.",
        "",
        "![loss by rate and width](mup.svg)",
        "",
        f"| init | width | {' | '.join(f'{rate:g}' for rate in RATES)} |",
        "|---|---|" + "---|" * len(RATES),
    ]
    for init, of_width in losses.items():
        for width, found in of_width.items():
            best = min(found, key=lambda rate: found[rate])
            cells = [f"**{x:.3f}**" if rate == best else f"{x:.3f}" for rate, x in found.items()]
            lines.append(f"| {init} | {width} | {' | '.join(cells)} |")
    best_rates = {
        init: [min(found, key=lambda rate: found[rate]) for found in of_width.values()]
        for init, of_width in losses.items()
    }
    chosen = "; ".join(f"{n} {', '.join(f'{r:g}' for r in rs)}" for n, rs in best_rates.items())
    widest = ", ".join(f"{n} {min(losses[n][WIDTHS[-1]].values()):.3f}" for n in INITS)
    lines += [
        "",
        f"Best rates by width: {chosen}. Lowest loss at width {WIDTHS[-1]}: {widest}; what counts "
        "for muP is the loss at the rate that was tuned at the smallest width: "
        + ", ".join(f"{n} {losses[n][WIDTHS[-1]][best_rates[n][0]]:.3f}" for n in INITS)
        + ".",
        "It is training loss on a few rows. With the default standard deviation of 0.02 instead of "
        "0.1, the base learns slower (one run of 50 steps at 0.004: 1.14 instead of 0.03 nats), "
        "and muP carries that to every width.",
    ]
    return "\n".join(lines) + "\n"


def draw(losses: Mapping[str, Losses]) -> None:
    """Draws the loss over the rate, one panel for each initialisation."""
    figure, panels = plt.subplots(1, len(INITS), figsize=(8, 3.6), sharey=True)
    for panel, (init, of_width) in zip(panels, losses.items(), strict=True):
        for width, found in of_width.items():
            panel.plot(found.keys(), found.values(), marker="o", label=f"width {width}")
        panel.set(xscale="log", yscale="log", xlabel="learning rate", title=f"init={init}")
    panels[0].set_ylabel("nats per byte")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(DOCS / "mup.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
