"""The laws of generators find completions that depend on more than their request."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.laws import generator
from etude.laws.trial import Trial
from etude.laws.verdict import Verdict
from etude.network import Autoregressive
from etude.network.generation import Generation, GenerationOptions, Request
from etude.network.network import Network

LAWS = (
    generator.completions_are_reproducible,
    generator.completions_do_not_depend_on_the_batch,
    generator.limits_and_stop_tokens_end_a_completion,
)
Spoil = Callable[[Sequence[Generation]], list[Generation]]


def trial(name: str, folder: Path) -> Trial:
    return Trial(tiny.part("generator", name), tiny.experiment("clm", folder), folder)


@pytest.mark.parametrize("name", ["autoregressive", "beam"])
def test_a_generator_keeps_them(name: str, tmp_path: Path) -> None:
    made = trial(name, tmp_path)
    assert [law(made).verdict for law in LAWS] == [Verdict.HELD] * 3


def in_batches(rows: Sequence[Generation]) -> list[Generation]:
    return [replace(row, ids=[*row.ids[:-1], len(rows)]) for row in rows]


def every_time_another() -> Spoil:
    calls = count(30)

    def spoil(rows: Sequence[Generation]) -> list[Generation]:
        token = next(calls)
        return [replace(row, ids=[token, *row.ids[1:]]) for row in rows]

    return spoil


def too_long(rows: Sequence[Generation]) -> list[Generation]:
    return [Generation(row.ids * 9, row.log_probs * 9) for row in rows]


def too_likely(rows: Sequence[Generation]) -> list[Generation]:
    return [replace(row, log_probs=[0.5 for _ in row.ids]) for row in rows]


class Spoiled(Autoregressive):
    """A generator whose completions are changed after the fact."""

    def __init__(self, spoil: Spoil) -> None:
        super().__init__()
        self.spoil = spoil

    def generate(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> list[Generation]:
        size = options.batch_size(len(requests))
        found: list[Generation] = []
        for start in range(0, len(requests), size):
            part = requests[start : start + size]
            found += self.spoil(
                super().generate(network, part, GenerationOptions(options.decoding))
            )
        return found


BROKEN: list[tuple[Any, Spoil]] = [
    (generator.completions_are_reproducible, every_time_another()),
    (generator.completions_do_not_depend_on_the_batch, in_batches),
    (generator.limits_and_stop_tokens_end_a_completion, too_long),
    (generator.limits_and_stop_tokens_end_a_completion, too_likely),
]


@pytest.mark.parametrize(("law", "spoil"), BROKEN)
def test_a_generator_that_breaks_one_is_found(
    law: Any, spoil: Spoil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial("autoregressive", tmp_path)

    def spoiled(config: Any, *arguments: Any) -> Any:
        return Spoiled(spoil) if config is made.tested else build(config, *arguments)

    monkeypatch.setattr(generator, "build", spoiled)
    assert law(made).verdict is Verdict.BROKEN
