"""The question of `etude generate`: what the model reads, and the answer that is voted for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from etude.config.capabilities import name_of
from etude.config.registry import build
from etude.config.schema.generation import GenerationConfig
from etude.data import chat_template
from etude.errors import CompositionError, ConfigError
from etude.evaluation.item import cases_of
from etude.evaluation.prompting import Prompting, build_prompting, check_prompting
from etude.evaluation.scorer import AnswerScorer
from etude.formats.model import Model
from etude.network.generation import Generation
from etude.records import Chat, Message, Prompt


@dataclass(frozen=True)
class Question:
    """A prompt as its `prompting` puts it."""

    config: GenerationConfig
    prompting: Prompting[Any]
    asked: str | Chat
    scorer: AnswerScorer[Any] | None
    """Reads the answers to vote on; None if there is no vote."""

    @classmethod
    def of(cls, config: GenerationConfig) -> "Question":
        """Raises ConfigError for options without effect, or a vote that cannot work."""
        check_prompting(config.prompting, config.decoding)
        name, votes = name_of(config.prompting), config.prompting.n_completions > 1
        if config.data is not None and not config.prompting.shows_examples:
            raise ConfigError(
                f"data={name_of(config.data)} has no effect: prompting={name} shows no examples.\n"
                "  Use prompting=few_shot."
            )
        if votes != (config.scorer is not None):
            raise CompositionError(
                f"prompting={name} votes on answers, and no scorer reads them.\n"
                "  Choose one, such as scorer=exact scorer.pattern='[0-9]+' for the last number."
                if votes
                else f"scorer has no effect: prompting={name} does not vote on answers."
            )
        if votes and config.n > 1:
            raise ConfigError(
                f"n={config.n} has no effect: prompting={name} writes prompting.n_samples="
                f"{config.prompting.n_completions} completions.\n  Set prompting.n_samples."
            )
        prompting = build_prompting(config.prompting, config.data, config.seed)
        asked = prompting.prompt(cases_of([Prompt(config.prompt)])[0])
        return cls(config, prompting, asked, config.scorer and build(config.scorer))

    @property
    def n(self) -> int:
        """Number of completions."""
        return max(self.config.n, self.prompting.n_samples)

    @property
    def stop(self) -> Sequence[str]:
        """Strings that end a completion."""
        return [*self.config.stop, *self.prompting.stop]

    def ids(self, model: Model, *, reads_source: bool) -> Sequence[int]:
        """Returns the prompt's ids in the format of training, with the chat template if any."""
        system = self.config.system
        if model.tokenizer.template is not None:
            chat = chat_template.as_chat(self.asked)
            first = () if system is None else (Message("system", system),)
            return chat_template.prompt(model.tokenizer, [*first, *chat.messages])
        if system is not None:
            raise ConfigError(
                f"system={system} has no effect: the prompt is {model.prompt_format}.\n"
                "  Use a model with a chat template, or make the system message part of the prompt."
            )
        ids = model.tokenizer.encode_with_mask(self.text).tolist()
        vocab = model.tokenizer.vocab
        return vocab.source(ids) if reads_source else vocab.prompt(ids)

    @property
    def text(self) -> str:
        """The prompt as plain text. Raises ConfigError if it is a conversation."""
        if isinstance(self.asked, Chat):
            raise ConfigError(
                f"prompting={name_of(self.config.prompting)} writes a conversation, but the model "
                "reads plain text.\n  Use prompting.form=text, or a model with a chat template."
            )
        return self.asked

    def verdict(self, texts: Sequence[str], written: Sequence[Generation]) -> str | None:
        """Returns the chosen answer and the votes; None if there is no vote."""
        if self.scorer is None:
            return None
        answers = [self.scorer.extract(text.strip()) for text in texts]
        log_probs = [fmean(one.log_probs) for one in written]
        chosen = self.prompting.choose(answers, log_probs)
        votes = Counter("no answer" if one is None else one for one in answers)
        shown = ", ".join(f"{answer}: {n}" for answer, n in votes.most_common())
        return f"answer: {'none' if chosen is None else chosen}\nvotes: {shown}"
