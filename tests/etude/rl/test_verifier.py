import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import tiny

from etude.config.plugin_files import options
from etude.config.registry import build, load, plugin
from etude.config.schema.plugins import RewardConfig
from etude.errors import ConfigError
from etude.rl.verifier import Bench, Kind, Verifier, check_bench, code_of, run_bench

FROM_THE_USER = {Kind.RIGHT, Kind.WRONG, Kind.ADVERSARIAL}
"""The kinds of answers that only the author of a pattern can list."""
OPINIONS = {"http", "model"}
"""Rewards without known right answers."""


@dataclass
class LenientConfig(RewardConfig):
    """Config of a verifier that is too lenient."""


@plugin(LenientConfig)
class Lenient(Verifier[LenientConfig]):
    """Rewards every answer that contains the reference, so it can be gamed; NaN without one."""

    def bench(self) -> list[Bench]:
        return [
            Bench("42", right=["42", "forty-two"], wrong=["43"], adversarial=["42 or 43"]),
            Bench(None, right=[], wrong=["x"]),
        ]

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        pairs = zip(completions, references, strict=True)
        return [math.nan if wanted is None else float(wanted in c) for c, wanted in pairs]


@pytest.mark.parametrize("name", sorted({*options("reward")} - OPINIONS))
def test_every_shipped_verifier_passes_its_bench_which_has_every_kind_of_answer(
    name: str,
) -> None:
    if extra := load(f"reward/{name}").declaration.extra:
        pytest.importorskip(extra)
    report = run_bench(build(tiny.part("reward", name)))
    assert not report.misjudged_results
    kinds = {one.kind for one in report.results}
    assert kinds == set(Kind) - {"regex": FROM_THE_USER, "overlong": {Kind.MALFORMED}}.get(
        name, set()
    )


def test_a_verifier_that_misjudges_its_bench_is_refused_with_the_rewards_it_gave() -> None:
    verifier = Lenient(LenientConfig())
    report = run_bench(verifier)
    assert [one.completion for one in report.misjudged_results] == ["forty-two", "42 or 43"]
    assert report.false_positives == 1 / 3
    assert report.false_negatives == 1 / 2
    with pytest.raises(
        ConfigError, match=r"33% false positives(.|\n)*'42 or 43' for reference '42'"
    ):
        check_bench(verifier)


def test_the_bench_depends_on_the_config() -> None:
    check_bench(build(tiny.part("reward", "numeric", tolerance=5.0)))
    with pytest.raises(ConfigError, match="malformed answer ''"):
        check_bench(build(tiny.part("reward", "regex", pattern="a*")))
    with pytest.raises(ConfigError, match="wrong answer 'a b'"):
        check_bench(build(tiny.part("reward", "regex", pattern="a", wrong=["a b"])))


def test_code_is_the_last_fenced_block_or_everything() -> None:
    assert code_of("x = 1") == "x = 1"
    assert code_of("No:\n```python\nx\n```\nbut\n```\ny\n```\n.") == "y\n"
    assert code_of("```py\nx") == "```py\nx"
