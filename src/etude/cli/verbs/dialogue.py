"""Generates conversations between two runs, one as the user and one as the assistant.

    etude dialogue run=outputs/sft user=outputs/asker data=jsonl_prompts data.path=... out=c.jsonl

Ding et al. 2023 (UltraChat), https://arxiv.org/abs/2305.14233. Read the file with data=jsonl_chats,
for objective=sft. Each conversation starts with a prompt of the data. The user model sees the
conversation with the roles swapped. A conversation ends after `turns` answers, before a message
that does not fit the context, or at an empty message; a final unanswered question is left out.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras
from etude.config.config_file import build_config
from etude.config.schema.curation import DialogueConfig
from etude.errors import ConfigError
from etude.experiments.provenance import write_origin
from etude.records import Message

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.experiments.curation import Writer

VERB = "dialogue"
SILENT = "conversations without an answer"
EXCHANGED = {"user": "assistant", "assistant": "user"}


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is not None:
        config = build_config(composed.config, DialogueConfig)
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
    """Adds the writer's next message to each conversation in which it is the writer's turn.

    `before` is prepended for this writer only. If it is not empty, the writer plays the user and
    sees the roles swapped.
    """
    from etude.data import chat_template

    role, n_said = ("user", 2 * turn) if before else ("assistant", 2 * turn + 1)
    keys: list[int] = []
    asked: list[list[int]] = []
    for number, talk in talks.items():
        seen = [*before, *map(swap_roles, talk)] if before else talk
        ids = chat_template.prompt(writer.model.tokenizer, seen)
        if len(talk) == n_said and len(ids) <= writer.room:
            keys.append(number)
            asked.append(ids)
    for number, written in zip(
        keys, writer.write(asked, [(n, turn, len(before)) for n in keys]), strict=True
    ):
        if text := writer.text(written):
            talks[number].append(Message(role, text))


def swap_roles(message: Message) -> Message:
    """Returns the message with the roles of user and assistant swapped."""
    return Message(EXCHANGED[message.role], message.content)
