"""Generates training data: a run's completions of the prompts of a data set."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from etude.capability import Capability
from etude.config.capabilities import capabilities_of, max_positions_of
from etude.config.compatibility import data_for
from etude.config.record_kind import kind_of
from etude.config.registry import build, plugin_of
from etude.config.schema.curation import AnswersConfig, SamplingConfig
from etude.data.corpus import read
from etude.errors import CompositionError, ConfigError, DataError
from etude.evaluation.item import cases_of
from etude.evaluation.prompting import build_prompting
from etude.files.atomic import write_atomic
from etude.formats.model import Model, read_model
from etude.network.autoregressive import Autoregressive
from etude.network.generation import Generation, GenerationOptions, Request, StopStrings
from etude.network.network import Network
from etude.objective.batches import PROMPTS_CUT, Ids, keep_end, prompt_ids
from etude.objective.loader import chunks
from etude.objective.randomness import SAMPLE, rng
from etude.records import Prompt


@dataclass(frozen=True)
class SampledPrompt:
    """A prompt with several completions, and which of them ended with a stop token."""

    prompt: Prompt
    texts: Sequence[str]
    ended: Sequence[bool]


class CompletionSampler:
    """Samples completions from a run."""

    def __init__(self, config: SamplingConfig, run: str, stop: Sequence[str] = ()) -> None:
        """Takes strings that end a completion, besides stop tokens.

        Raises ConfigError for a run that cannot generate text, or has too few positions.
        """
        self.config = config
        self.model = read_model(run).with_turns(config.as_turn)
        _refuse_unfit(self.model, config)
        self.network: Network = self.model.network().requires_grad_(False).eval()
        decode = self.model.tokenizer.decode
        self.stop = StopStrings(stop, lambda ids: decode(list(ids)))
        self.options = GenerationOptions(
            build(config.decoding, self.model.tokenizer),
            self.model.whole_prompt,
            self.stop,
            generation_batch=config.generation_batch,
        )

    @property
    def max_prompt_tokens(self) -> int:
        """Maximum number of prompt tokens."""
        return self.config.data.seq_len - self.config.max_new_tokens

    def sample(self, prompts: Sequence[Ids], keys: Sequence[tuple[int, ...]]) -> list[Generation]:
        """Returns a completion of each prompt; its key seeds the sampling."""
        seed = self.config.seed
        longest = self.config.max_new_tokens
        return Autoregressive().generate(
            self.network,
            [
                Request(ids, rng(seed, SAMPLE, *key), longest)
                for ids, key in zip(prompts, keys, strict=True)
            ],
            self.options,
        )

    def text(self, written: Generation) -> str:
        """Returns the text before a stop string, without stop tokens and white space around it."""
        return self.stop.before(self.stop.decode(written.ids)).strip()


def prompts_of(config: SamplingConfig) -> list[Prompt]:
    """Returns the training prompts; prompts held out for validation are excluded.

    Raises ConfigError for data without prompts.
    """
    if kind_of(config.data) is not Prompt:
        fitting = ", ".join(data_for(frozenset({Prompt.__name__})))
        raise ConfigError(
            f"data={_name(config.data)} contains no prompts.\n  These data sets do: {fitting}."
        )
    return cast("list[Prompt]", list(islice(read(config.data).train, config.n_prompts)))


def answer_prompts(config: AnswersConfig, n: int) -> Iterator[list[SampledPrompt]]:
    """Samples `n` completions of each prompt; yields one generation batch at a time.

    The model reads the prompt as `prompting` puts it; the results contain that of the data. Prints
    the number of prompts that were cut. Raises CompositionError if `prompting` votes.
    """
    if config.prompting.n_completions > 1:
        raise CompositionError(
            f"prompting={_name(config.prompting)} votes on completions, but here a reward or "
            "a judge selects them.\n  Use prompting=chain_of_thought."
        )
    prompts = prompts_of(config)
    prompting = build_prompting(config.prompting, config.data, config.seed)
    sampler = CompletionSampler(config, config.run, prompting.stop)
    tokenizer, most = sampler.model.tokenizer, sampler.max_prompt_tokens
    n_cut = 0
    for part in chunks(list(enumerate(prompts)), max(1, config.generation_batch // n)):
        keys = [(number, i) for number, _ in part for i in range(n)]
        asked = [prompting.prompt(cases_of([p])[0]) for _, p in part]
        whole = [prompt_ids(tokenizer, one, sys.maxsize) for one in asked]
        n_cut += sum(len(ids) > most for ids in whole)
        ids = [keep_end(one, most) for one in whole for _ in range(n)]
        written = chunks(sampler.sample(ids, keys), n)
        yield [
            SampledPrompt(prompt, [sampler.text(row) for row in rows], [row.ended for row in rows])
            for (_, prompt), rows in zip(part, written, strict=True)
        ]
    if n_cut:
        print(f"cut       {n_cut:,}: {PROMPTS_CUT}")


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]], left_out: Counter[str]) -> None:
    """Writes JSON lines atomically, and prints the number of rows and what was left out, by reason.

    Raises DataError if there are no rows.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    for reason, n in left_out.items():
        print(f"left out  {n:,}: {reason}")
    if not lines:
        raise DataError(f"{file} was not written: no rows are left.")
    print(f"written   {len(lines):,}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, "".join(lines))
    print(file)


def _refuse_unfit(model: Model, config: SamplingConfig) -> None:
    if Capability.GENERATE not in capabilities_of(model.architecture):
        name = _name(model.architecture)
        raise ConfigError(f"{model.folder}: {name} is an encoder and cannot generate text.")
    n_positions = max_positions_of(model.architecture)
    if n_positions is not None and config.data.seq_len > n_positions:
        raise ConfigError(
            f"data.seq_len={config.data.seq_len} exceeds the {n_positions} positions of "
            f"{model.folder}. Choose a smaller data.seq_len."
        )


def _name(config: Any) -> str:
    return plugin_of(config).address.rpartition("/")[2]
