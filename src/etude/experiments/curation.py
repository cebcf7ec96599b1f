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
from etude.config.schema.curation import SamplingConfig
from etude.data.corpus import read
from etude.errors import ConfigError, DataError
from etude.files.atomic import write_atomic
from etude.formats.model import Model, read_model
from etude.network.autoregressive import Autoregressive
from etude.network.generation import Generation, GenerationOptions, Request
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

    def __init__(self, config: SamplingConfig, run: str) -> None:
        """Raises ConfigError for a run that cannot generate text, or has too few positions."""
        self.config = config
        self.model = read_model(run).with_turns(config.as_turn)
        _refuse_unfit(self.model, config)
        self.network: Network = self.model.network().requires_grad_(False).eval()
        self.options = GenerationOptions(
            build(config.decoding, self.model.tokenizer),
            self.model.whole_prompt,
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
        """Returns the completion's text, without stop tokens and surrounding white space."""
        return self.model.tokenizer.decode(written.ids).strip()


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


def answer_prompts(config: SamplingConfig, n: int) -> Iterator[list[SampledPrompt]]:
    """Samples `n` completions of each prompt; yields one generation batch at a time.

    Prints the number of prompts that were cut.
    """
    prompts = prompts_of(config)
    sampler = CompletionSampler(config, config.run)
    tokenizer, most = sampler.model.tokenizer, sampler.max_prompt_tokens
    n_cut = 0
    for part in chunks(list(enumerate(prompts)), max(1, config.generation_batch // n)):
        keys = [(number, i) for number, _ in part for i in range(n)]
        whole = [prompt_ids(tokenizer, p.prompt, sys.maxsize) for _, p in part]
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
