"""Lets two runs talk to each other, one as the user and one as the assistant.

    etude dialogue run=outputs/sft user=outputs/asker data=jsonl_prompts data.path=... out=c.jsonl

Ding et al. 2023 (UltraChat), https://arxiv.org/abs/2305.14233: conversations for objective=sft,
with data=jsonl_chats. Each begins with a prompt of the data. The one who plays the user sees the
conversation with the roles exchanged. A conversation ends after `turns` answers, before one that
does not fit, or where someone says nothing; a last question without an answer is left out.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras
from etude.config.config_file import built
from etude.config.schema.curation import DialogueConfig
from etude.errors import ConfigError
from etude.experiments.provenance import write_origin
from etude.records import Message

if TYPE_CHECKING:  # torch is loaded only once nothing can be refused any more
    from etude.experiments.curation import Writer

VERB = "dialogue"
SILENT = "conversations without an answer"
EXCHANGED = {"user": "assistant", "assistant": "user"}


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is not None:
        config = built(composed.config, DialogueConfig)
        check_extras(config)
        _write(config)
        write_origin(VERB, config)
    return 0


def _write(config: DialogueConfig) -> None:
    from etude.experiments.curation import Writer, prompts_of, write_rows
    from etude.objective.loader import chunks

    prompts = list(enumerate(prompts_of(config)))
    assistant = Writer(config, config.run)
    user = Writer(config, config.user)
    for key, writer in (("run", assistant), ("user", user)):
        if writer.model.tokenizer.template is None:
            raise ConfigError(
                f"{key}={writer.model.folder} was not taught conversations.\n"
                "  A run of objective=sft is."
            )
    left_out: Counter[str] = Counter()
    rows: list[dict[str, list[dict[str, str]]]] = []
    for part in chunks(prompts, config.generation_batch):
        talks = {number: [Message("user", prompt.prompt)] for number, prompt in part}
        for turn in range(config.turns):
            if turn:
                _go_on(user, talks, turn, [Message("user", config.opening_prompt)])
            _go_on(assistant, talks, turn, [])
        for talk in talks.values():
            said = talk[: len(talk) // 2 * 2]
            left_out[SILENT] += not said
            rows += [{"messages": [vars(message) for message in said]}] if said else []
    write_rows(Path(config.out), rows, +left_out)


def _go_on(
    writer: "Writer", talks: dict[int, list[Message]], turn: int, before: Sequence[Message]
) -> None:
    """Adds what a writer says next, wherever it is its turn; `before` stands in front for it alone.

    With something in front it plays the user: what the user said was said by itself.
    """
    from etude.data import chat_template

    role, n_said = ("user", 2 * turn) if before else ("assistant", 2 * turn + 1)
    keys: list[int] = []
    asked: list[list[int]] = []
    for number, talk in talks.items():
        seen = [*before, *map(exchanged, talk)] if before else talk
        ids = chat_template.prompt(writer.model.tokenizer, seen)
        if len(talk) == n_said and len(ids) <= writer.room:
            keys.append(number)
            asked.append(ids)
    for number, written in zip(
        keys, writer.write(asked, [(n, turn, len(before)) for n in keys]), strict=True
    ):
        if text := writer.text(written):
            talks[number].append(Message(role, text))


def exchanged(message: Message) -> Message:
    """What one says, as the other would have said it."""
    return Message(EXCHANGED[message.role], message.content)
