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
from etude.errors import ConfigError, DataError
from etude.experiments.provenance import write_origin
from etude.records import Message, Prompt

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.experiments.curation import CompletionSampler

VERB = "dialogue"
EMPTY = "conversations without an answer"
SWAPPED = {"user": "assistant", "assistant": "user"}


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
    from etude.experiments.curation import CompletionSampler, prompts_of, write_rows
    from etude.objective.loader import chunks

    prompts = list(enumerate(map(_question, prompts_of(config))))
    assistant = CompletionSampler(config, config.run)
    user = CompletionSampler(config, config.user)
    for key, sampler in (("run", assistant), ("user", user)):
        if sampler.model.tokenizer.template is None:
            raise ConfigError(
                f"{key}={sampler.model.folder} was not trained on conversations.\n"
                "  Give a run of objective=sft."
            )
    left_out: Counter[str] = Counter()
    rows: list[dict[str, list[dict[str, str]]]] = []
    for part in chunks(prompts, config.generation_batch):
        chats = {number: [Message("user", question)] for number, question in part}
        for turn in range(config.turns):
            if turn:
                _add_turn(user, chats, turn, [Message("user", config.opening_prompt)])
            _add_turn(assistant, chats, turn, [])
        for chat in chats.values():
            answered = chat[: len(chat) // 2 * 2]
            left_out[EMPTY] += not answered
            rows += [{"messages": [one.as_row() for one in answered]}] if answered else []
    write_rows(Path(config.out), rows, +left_out)


def _question(prompt: Prompt) -> str:
    if isinstance(prompt.prompt, str):
        return prompt.prompt
    raise DataError(
        f"A dialogue starts with a question, and a prompt is a conversation already: "
        f"{str(prompt.prompt)[:80]!r}.\n  Leave such rows out, or system prompts and tools."
    )


def _add_turn(
    sampler: "CompletionSampler",
    chats: dict[int, list[Message]],
    turn: int,
    before: Sequence[Message],
) -> None:
    """Adds the sampler's next message to each conversation in which it is the sampler's turn.

    `before` is prepended for this sampler only. If it is not empty, the sampler plays the user and
    sees the roles swapped.
    """
    from etude.data import chat_template

    role, n_messages = ("user", 2 * turn) if before else ("assistant", 2 * turn + 1)
    keys: list[int] = []
    prompts: list[list[int]] = []
    for number, chat in chats.items():
        context = [*before, *map(swap_roles, chat)] if before else chat
        ids = chat_template.prompt(sampler.model.tokenizer, context)
        if len(chat) == n_messages and len(ids) <= sampler.max_prompt_tokens:
            keys.append(number)
            prompts.append(ids)
    for number, completion in zip(
        keys, sampler.sample(prompts, [(n, turn, len(before)) for n in keys]), strict=True
    ):
        if text := sampler.text(completion):
            chats[number].append(Message(role, text))


def swap_roles(message: Message) -> Message:
    """Returns the message with the roles of user and assistant swapped."""
    return Message(SWAPPED[message.role], message.content)
