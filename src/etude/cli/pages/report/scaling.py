"""Scaling law: a power law of the loss, fitted to runs of several sizes.

L = a + b N^-c, Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, with the constant of Hoffmann
et al. 2022, https://arxiv.org/abs/2203.15556, equation 2, whose form with tokens D is fitted where
both vary: L = a + b N^-c + d D^-e. Deviation: least squares of L, not a Huber loss of log L. For
given exponents, the nonnegative coefficients are solved exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from etude.cli.pages.report.markup import format_value, join_markup, table, tag
from etude.cli.pages.report.runs import Run
from etude.cli.pages.report.view import Section, View
from etude.config.schema.trainer import Best

Vector: TypeAlias = Float[ndarray, " run"]
MIN_SIZES = 4
MIN_LENGTHS = 3
MIN_RUNS_FOR_TWO = 7
"""Minimum sizes for a law in N; minimum lengths, and runs, for a law in N and D."""
EXPONENTS = (0.01, 3.0)
STEPS = 15
ROUNDS = 9
SAME = ("objective", "data", "tokenizer")
"""Choices that all runs of one law must share."""


@dataclass(frozen=True)
class Law:
    """The fitted coefficients; `exponents` and `factors` are for N, and for D if there are two."""

    floor: float
    factors: tuple[float, ...]
    exponents: tuple[float, ...]
    error: float
    """Root mean squared error, in units of the loss."""

    def at(self, *sizes: Any) -> Any:  # a number or a vector each
        """Returns the loss that the law predicts."""
        terms = zip(self.factors, self.exponents, sizes, strict=True)
        return self.floor + sum(b * size**-c for b, c, size in terms)

    def formula(self) -> str:
        """Returns the law as a formula."""
        terms = zip(self.factors, self.exponents, "ND", strict=False)
        return f"L = {self.floor:.4g}" + "".join(f" + {b:.4g} {n}^-{c:.3g}" for b, c, n in terms)


def fit(loss: Vector, *sizes: Vector) -> Law:
    """Returns the least-squares fit to the losses. Raises ValueError for too few sizes."""
    least = MIN_SIZES if len(sizes) == 1 else MIN_LENGTHS
    for size in sizes:
        if len(set(size.tolist())) < least:
            raise ValueError(f"too few sizes: {len(set(size.tolist()))} of at least {least}")
    scales = [float(np.exp(np.log(size).mean())) for size in sizes]
    scaled = [size / scale for size, scale in zip(sizes, scales, strict=True)]

    def solve(exponents: Sequence[float]) -> tuple[float, Vector]:
        powers = [size**-c for size, c in zip(scaled, exponents, strict=True)]
        return _nonnegative_fit(np.stack([np.ones_like(loss), *powers], axis=1), loss)

    exponents = _best_exponents(lambda at: solve(at)[0], len(sizes))
    error, found = solve(exponents)
    floor, *factors = found.tolist()
    back = zip(factors, scales, exponents, strict=True)
    root = float(np.sqrt(error / len(loss)))
    return Law(floor, tuple(b * scale**c for b, scale, c in back), tuple(exponents), root)


def section(view: View) -> Section | None:
    """Returns the law of the runs of `SAME` choices that have the most sizes."""
    held = _comparable_runs(view) if view.best is Best.lowest else []
    points = [_point(view.runs[i], view.metric) for i in held]
    if not points:
        return None
    n, d, loss = np.asarray(points, dtype=float).T
    if (n_sizes := len(set(n.tolist()))) < MIN_SIZES:
        text = f"Too few sizes for {view.metric} = a + b N^-c: {n_sizes} of {MIN_SIZES}."
        return Section(tag("p", text, css="soft"))
    both = _is_crossed(n, d)
    law = fit(loss, n, d) if both else fit(loss, n)
    rows = [
        [view.labels[i], *point, float(law.at(*point[: 2 if both else 1]))]
        for i, point in zip(held, points, strict=True)
    ]
    head = ["run", "parameters N", "tokens D", view.metric, "law"]
    parts = [
        tag(
            "p",
            tag("b", law.formula()),
            f" (root mean squared error {format_value(law.error)})",
        ),
        tag("p", *_caveats(loss, n, both), css="soft"),
        tag("div", css="grid", id="scaling"),
        table(head, rows),
    ]
    drawn = {"runs": held, "x": n.tolist(), "y": loss.tolist(), "of": view.metric}
    return Section(join_markup(parts), {"scaling": {**drawn, "lines": _lines(law, n, d)}})


def _lines(law: Law, n: Vector, d: Vector) -> list[dict[str, list[float]]]:
    """Returns the law's curve from the smallest to the largest size, one per length if fitted."""
    grid = np.geomspace(n.min(), n.max(), 60)
    lengths = sorted(set(d.tolist())) if len(law.factors) > 1 else []
    laws = [law.at(grid, length) for length in lengths] or [law.at(grid)]
    return [{"x": grid.tolist(), "y": values.tolist()} for values in laws]


def _caveats(loss: Vector, n: Vector, crossed: bool) -> list[str]:
    """Returns caveats of the fit, including its error on the largest size when left out."""
    texts = ["Runs with the same objective, data and tokenizer; N includes embeddings. "]
    small = n < n.max()
    if not crossed and len(set(n[small].tolist())) >= MIN_SIZES:
        law = fit(loss[small], n[small])
        off = float(np.mean(law.at(n[~small]) / loss[~small] - 1))
        texts.append(f"A fit without the largest size has an error of {off:+.2%} there.")
    elif not crossed:
        texts.append("There are too few sizes to test it by leaving out the largest.")
    return texts


def _best_exponents(error: Callable[[Sequence[float]], float], n: int) -> list[float]:
    """Returns the exponents with the lowest error, by successively refined grid search."""
    low = np.log(EXPONENTS[0])
    high = np.log(EXPONENTS[1])
    ranges = [(low, high)] * n
    best: list[float] = []
    for _ in range(ROUNDS):
        axes = [np.exp(np.linspace(*ends, STEPS)) for ends in ranges]
        points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, n)
        best = min(points.tolist(), key=error)
        steps = [(b - a) / (STEPS - 1) * 2 for a, b in ranges]
        ranges = [
            (max(low, np.log(c) - step), min(high, np.log(c) + step))
            for c, step in zip(best, steps, strict=True)
        ]
    return best


def _nonnegative_fit(
    design: Float[ndarray, "run term"], loss: Vector
) -> tuple[float, Float[ndarray, " term"]]:
    """Returns the lowest squared error and its nonnegative factors, by trying all subsets."""
    n = design.shape[1]
    best = float((loss**2).sum()), np.zeros(n)
    for size in range(1, n + 1):
        for chosen in map(list, combinations(range(n), size)):
            found = np.linalg.lstsq(design[:, chosen], loss, rcond=None)[0]
            error = float(((design[:, chosen] @ found - loss) ** 2).sum())
            if (found >= 0).all() and error < best[0]:
                factors = np.zeros(n)
                factors[chosen] = found
                best = error, factors
    return best


def _is_crossed(n: Vector, d: Vector) -> bool:
    """Returns whether tokens vary at one size, and there are enough runs for a law in both."""
    varies = any(len(set(d[n == size].tolist())) > 1 for size in set(n.tolist()))
    return varies and len(n) >= MIN_RUNS_FOR_TWO and len(set(d.tolist())) >= MIN_LENGTHS


def _point(run: Run, metric: str) -> tuple[float, float, float]:
    return run.parameters or 1.0, run.last("tokens") or 1.0, run.last(metric) or 0.0


def _comparable_runs(view: View) -> list[int]:
    """Returns the runs with known size and metric and `SAME` choices that have the most sizes."""
    by: dict[tuple[str, ...], list[int]] = {}
    for i, run in enumerate(view.runs):
        sizes_known = min(run.parameters or 0, run.last("tokens") or 0) > 0
        if sizes_known and run.last(view.metric) is not None:
            by.setdefault(tuple(str(run.config.get(key)) for key in SAME), []).append(i)
    sizes = {key: len({view.runs[i].parameters for i in held}) for key, held in by.items()}
    return by[max(sizes, key=lambda key: sizes[key])] if by else []
