"""Prints what a model reads in an evaluation: messages, tokens and ids of prompts."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from etude.cli.pages.inspect.pieces import shown_pieces
from etude.config.registry import build
from etude.config.schema.evaluation import EvaluationConfig
from etude.data.chat_template import as_chat
from etude.data.tokenizer import Tokenizer
from etude.evaluation.evaluate import Evaluation, context_of, converted
from etude.evaluation.item import Case
from etude.evaluation.prompting import Prompting
from etude.evaluation.result import joint_digest
from etude.evaluation.subject import Subject
from etude.files.cache import digest_of
from etude.formats.model import read_model
from etude.records import Chat, Prompt

DIGEST = 12
"""Characters of a digest or an id that are shown."""


def show_prompts(config: EvaluationConfig, n: int, console: Console) -> None:
    """Prints the first n prompts of each evaluator, and the digest of all of them."""
    model = read_model(config.run).with_turns(config.as_turn)
    cases = Evaluation(config, "", model).cases
    context = context_of(config, Subject.open(model, config.batch_size, config.precision))
    console.print(f"{len(cases):,} items of {config.run}, prompt: {model.prompt_format}")
    prompting = context.prompting
    stop = ", ".join(map(repr, prompting.stop)) or "stop tokens"
    console.print(f"{prompting.n_samples} completions of each prompt, which end with {stop}")
    for name, one in config.evaluator.items():
        evaluator, chosen = build(one, context), converted(cases, config.data, one)
        digest = joint_digest(digest_of(list(ids)) for ids in evaluator.questions(chosen))
        console.print(f"\nevaluator {name}: prompts with digest {digest[:DIGEST]}", style="bold")
        for case, ids in zip(chosen[:n], evaluator.questions(chosen[:n]), strict=True):
            console.print(f"\nitem {case.id[:DIGEST]}: {len(ids):,} tokens", style="bold")
            for line in _lines(case, prompting, ids, model.tokenizer):
                console.print(line, markup=False)


def _lines(
    case: Case[Any], prompting: Prompting[Any], ids: Sequence[int], tokenizer: Tokenizer
) -> Iterator[Text]:
    """Yields the messages of a question with their roles, its tokens, ids and reference answer."""
    if isinstance(case.record, Prompt):
        asked = prompting.prompt(case)
        messages = as_chat(asked).messages
        is_chat = isinstance(asked, Chat) or tokenizer.template is not None
        for message in messages:
            yield Text(f"  {message.role if is_chat else 'text'}: {message}", "blue")
    special = tokenizer.vocab.special
    tokens = Text("  tokens:")
    for piece, token in zip(shown_pieces(ids, tokenizer), ids, strict=True):
        tokens.append(" ").append(piece, "cyan" if token in special else "")
    yield tokens
    yield Text(f"  ids: {' '.join(map(str, ids))}", "dim")
    if isinstance(case.record, Prompt):
        yield Text(f"  reference: {case.record.answer}", "green")
