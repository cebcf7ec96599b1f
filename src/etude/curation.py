"""Data out of what a model writes: the prompts of a data set, each answered by a run."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from etude.batches import prompt_ids
from etude.capability import Capability
from etude.compatibility import data_for, longest, provided
from etude.contracts import Decoding
from etude.corpus import read
from etude.curation_schema import SamplingConfig
from etude.errors import ConfigError, DataError
from etude.generation import Request, generate
from etude.network import Network
from etude.records import Prompt
from etude.registry import build, plugin_of
from etude.run_reader import Model, read_model
from etude.whole_file import write_whole
from etude.window import SAMPLE, cut, rng


@dataclass(frozen=True)
class Answered:
    """A prompt with several answers, and which of them came to an end by themselves."""

    prompt: Prompt
    texts: Sequence[str]
    ended: Sequence[bool]


class Writer:
    """A run that answers prompts."""

    def __init__(self, config: SamplingConfig) -> None:
        """Raises ConfigError for a run that cannot write, or not as much as is asked."""
        self.config = config
        self.model = read_model(config.run)
        _refuse_unable(self.model, config)
        self.network: Network = self.model.network().requires_grad_(False).eval()
        self.decoding: Decoding = build(config.decoding)

    def answers(self, prompts: Sequence[tuple[int, Prompt]], n: int) -> Iterator[Answered]:
        """Answers each prompt `n` times; its number decides what is sampled."""
        room = self.config.data.seq_len - self.config.max_new_tokens
        requests = [
            Request(
                prompt_ids(self.model.tokenizer, prompt.prompt, room),
                rng(self.config.seed, SAMPLE, number, i),
                self.config.max_new_tokens,
            )
            for number, prompt in prompts
            for i in range(n)
        ]
        written = generate(
            self.network,
            requests,
            self.decoding,
            whole=self.model.whole_prompt,
            at_once=self.config.at_once,
        )
        for (_, prompt), rows in zip(prompts, cut(written, n), strict=True):
            texts = [self.model.tokenizer.decode(row.ids).strip() for row in rows]
            yield Answered(prompt, texts, [row.ended for row in rows])


def answered(config: SamplingConfig, n: int) -> Iterator[list[Answered]]:
    """Answers the prompts of a data set `n` times each, so many prompts at once; the held-out
    ones are left alone. Raises ConfigError for data without prompts.
    """
    if plugin_of(config.data).declaration.yields is not Prompt:
        fitting = ", ".join(data_for(frozenset({Prompt.__name__})))
        raise ConfigError(
            f"data={_name(config.data)} holds no prompts to answer.\n  Data that does: {fitting}."
        )
    writer = Writer(config)
    prompts = cast("list[Prompt]", list(islice(read(config.data).train, config.n_prompts)))
    for part in cut(list(enumerate(prompts)), max(1, config.at_once // n)):
        yield list(writer.answers(part, n))


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]], left_out: Counter[str]) -> None:
    """Writes JSON lines, whole or not at all, and says how many, and what was left out and why.

    Raises DataError when there is no row.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    for reason, n in left_out.items():
        print(f"left out  {n:,}: {reason}")
    if not lines:
        raise DataError(f"Nothing is left to be written to {file}.")
    print(f"written   {len(lines):,}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, "".join(lines))
    print(file)


def _refuse_unable(model: Model, config: SamplingConfig) -> None:
    if Capability.GENERATE not in provided(model.architecture):
        raise ConfigError(f"run={config.run} cannot write: {_name(model.architecture)} only reads.")
    room = longest(model.architecture)
    if room is not None and config.data.seq_len > room:
        raise ConfigError(
            f"data.seq_len={config.data.seq_len} is longer than the {room} places that "
            f"run={config.run} tells apart."
        )


def _name(config: Any) -> str:
    return plugin_of(config).address.rpartition("/")[2]
