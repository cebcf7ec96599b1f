"""Samples several completions per prompt from a run and writes those with the highest reward.

    etude best-of run=outputs/sft data=arithmetic reward=numeric out=best.jsonl
    etude best-of run=... data=... reward=numeric min_reward=1 keep_top=8 out=right.jsonl
    etude best-of run=... data=... reward=numeric prompting=few_shot out=few_shot.jsonl

Best of n, or rejection sampling with min_reward (Dong et al. 2023, RAFT,
https://arxiv.org/abs/2304.06767). Read the file with data=jsonl_pairs, for objective=sft or
seq2seq; with data=jsonl_chats if prompts are conversations. Completions truncated by max_new_tokens
and duplicates are left out. Prompts held out for validation are not used. With prompting=..., the
model reads examples or a cue that the written prompts do not contain (context distillation, Askell
et al. 2021, https://arxiv.org/abs/2112.00861, section 2.3).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras
from etude.config.config_file import build_config
from etude.config.plugin_files import options
from etude.config.schema.curation import BestOfConfig
from etude.errors import ConfigError
from etude.experiments.provenance import write_origin
from etude.records import prompt_fields

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.experiments.curation import SampledPrompt
    from etude.objective.reward import Reward

VERB = "best_of"
NONE = "prompts without a completion of sufficient reward"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is not None:
        config = build_config(composed.config, BestOfConfig)
        check_extras(config)
        if not config.reward:
            raise ConfigError(
                "etude best-of ranks completions by a reward, but no reward is chosen.\n"
                f"  Choose one: reward=[...]. Rewards: {', '.join(options('reward'))}."
            )
        _write(config)
        write_origin("best-of", config)
    return 0


def _write(config: BestOfConfig) -> None:
    from etude.experiments.curation import answer_prompts, write_rows
    from etude.rl.rewards import build_rewards

    reward = build_rewards(config.reward)
    assert reward is not None, "main requires a reward"
    left_out: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for part in answer_prompts(config, config.n_samples):
        for one in part:
            kept = list(best(reward, one, config.keep_top, config.min_reward))
            left_out[NONE] += not kept
            rows += kept
    write_rows(Path(config.out), rows, +left_out)


def best(
    reward: "Reward", answered: "SampledPrompt", n: int, min_reward: float | None
) -> Iterator[dict[str, Any]]:
    """Yields up to `n` distinct completions, best first, as rows of data=jsonl_pairs.

    If the prompt is a conversation, they are rows of data=jsonl_chats.
    """
    from etude.objective.reward import scores_of

    complete = dict.fromkeys(
        text for text, ended in zip(answered.texts, answered.ended, strict=True) if ended and text
    )
    prompt = answered.prompt
    texts = list(complete)
    scores = scores_of(reward, [prompt.prompt] * len(texts), texts, [prompt.answer] * len(texts))
    minimum = float("-inf") if min_reward is None else min_reward
    scored = [(score, text) for score, text in zip(scores, texts, strict=True) if score >= minimum]
    for score, text in sorted(scored, key=lambda pair: -pair[0])[:n]:
        if isinstance(prompt.prompt, str):
            yield {"source": prompt.prompt, "target": text, "reward": score}
        else:
            yield {**prompt_fields(prompt.prompt), "completion": text, "reward": score}
