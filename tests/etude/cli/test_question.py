"""The question of `etude generate` is that of `etude evaluate`, and its options have an effect."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.cli.question import Question
from etude.config.composition import compose
from etude.config.config_file import build_config
from etude.config.schema.generation import GenerationConfig
from etude.data.chat_template import question
from etude.errors import ConfigError
from etude.evaluation.item import cases_of
from etude.evaluation.prompting import build_prompting
from etude.formats.model import Model
from etude.network.generation import Generation
from etude.records import Prompt

SHOTS = ("prompting=few_shot", "prompting.n=2", "data=arithmetic", "data.n_problems=20")
VOTES = ("prompting=self_consistency", "scorer=exact", "scorer.pattern='[0-9]+'")


def config_of(*arguments: str) -> GenerationConfig:
    overrides = ["run=a", "prompt='1 + 1 ='", *arguments]
    return build_config(compose("generate", overrides).config, GenerationConfig)


def model(template: str | None) -> Model:
    config: Any = None
    return Model(Path("a"), config, tiny.BYTES.with_template(template, {}), config)


@pytest.mark.parametrize("template", [None, "{% for m in messages %}[{{ m.content }}]{% endfor %}"])
@pytest.mark.parametrize("arguments", [(), SHOTS, ("prompting=chain_of_thought",)])
def test_its_ids_are_those_of_an_evaluation(
    template: str | None, arguments: tuple[str, ...]
) -> None:
    config, one = config_of(*arguments), model(template)
    case = cases_of([Prompt("1 + 1 =")])[0]
    asked = build_prompting(config.prompting, config.data, config.seed).prompt(case)
    ids = Question.of(config).ids(one, reads_source=False)
    assert list(ids) == question(one.tokenizer, asked)


def test_the_votes_are_shown_with_the_answer() -> None:
    made = Question.of(config_of(*VOTES, "prompting.n_samples=4"))
    written = [Generation([0], [-0.5])] * 4
    assert made.n == 4
    shown = made.verdict(["so 2", "none", " so 3 ", "is 3"], written)
    assert shown == "answer: 3\nvotes: 3: 2, 2: 1, no answer: 1"
    assert made.verdict(["a"] * 4, written) == "answer: none\nvotes: no answer: 4"
    assert Question.of(config_of()).verdict(["so 2"], written[:1]) is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("data=arithmetic",), "data=arithmetic has no effect: prompting=zero_shot shows no"),
        (("scorer=exact",), "scorer has no effect: prompting=zero_shot does not vote"),
        (VOTES[:1], "prompting=self_consistency votes on answers, and no scorer reads them"),
        ((*VOTES, "n=2"), "n=2 has no effect: prompting=self_consistency writes"),
        ((*VOTES, "decoding=greedy"), "decoding=greedy writes the same one each time"),
        (SHOTS[:1], "prompting=few_shot shows solved examples, and data=null has none"),
        ((SHOTS[0], "data=text", "data.path=a"), "and data=text has none"),
    ],
)
def test_options_without_effect_are_refused(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Question.of(config_of(*arguments))


def test_a_conversation_for_a_model_of_plain_text_is_refused() -> None:
    made = Question.of(config_of(*SHOTS, "prompting.form=turns"))
    with pytest.raises(ConfigError, match=r"Use prompting\.form=text"):
        made.ids(model(None), reads_source=False)
