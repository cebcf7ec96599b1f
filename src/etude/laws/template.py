"""Laws of chat templates: answers are separable and end, and messages cannot inject tokens."""

from etude.config.registry import build
from etude.data.chat_template import Conversation, conversation, prompt
from etude.data.tokenizer import Tokenizer
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.records import Message

MESSAGES = (
    Message("user", "Hi there"),
    Message("assistant", "Hello!"),
    Message("user", "Why?"),
    Message("assistant", "Because."),
)


def every_answer_has_a_span(trial: Trial) -> Finding:
    """There is one span per assistant turn, and each decodes to that turn's text."""
    tokenizer = _build(trial)
    whole = conversation(tokenizer, MESSAGES)
    spans = _answers(tokenizer, whole)
    wanted = [message.content for message in MESSAGES if message.role == "assistant"]
    return holds([text.strip() for text in spans] == wanted, f"{spans}, expected {wanted}")


def prompts_have_the_same_ids_as_in_training(trial: Trial) -> Finding:
    """The ids of a prompt equal those before the answer in a training conversation."""
    tokenizer = _build(trial)
    whole = conversation(tokenizer, MESSAGES).ids.tolist()
    for n in (1, 3):
        ids = prompt(tokenizer, MESSAGES[:n])
        if whole[: len(ids)] != ids:
            return broken(f"the prompt of message {n + 1} has other ids than in training")
    return held("2 prompts")


def every_answer_ends_with_a_stop_token(trial: Trial) -> Finding:
    """The last id of an answer is a stop token."""
    tokenizer = _build(trial)
    whole = conversation(tokenizer, MESSAGES)
    last = [int(whole.ids[whole.turns == turn][-1]) for turn in range(1, whole.n_turns + 1)]
    shown = tokenizer.decode(last, skip_special=False)
    return holds(set(last) <= set(tokenizer.vocab.stops), f"answers end with {shown!r}")


def messages_cannot_inject_special_tokens(trial: Trial) -> Finding:
    """A message that contains the text of special tokens is not encoded with them."""
    tokenizer = _build(trial)
    plain = _n_special(tokenizer, "ab")
    for literal in tokenizer.literals.values():
        if (n := _n_special(tokenizer, f"a{literal}b")) != plain:
            return broken(f"{literal!r} in a message gives {n} special ids instead of {plain}")
    return held(f"{len(tokenizer.literals)} special tokens tested")


def _build(trial: Trial) -> Tokenizer:
    return build(trial.tested, trial.corpus.tokenizer)


def _answers(tokenizer: Tokenizer, full: Conversation) -> list[str]:
    return [tokenizer.decode(full.ids[full.turns == turn]) for turn in range(1, full.n_turns + 1)]


def _n_special(tokenizer: Tokenizer, content: str) -> int:
    ids = conversation(tokenizer, (Message("user", content), *MESSAGES[1:])).ids.tolist()
    return sum(i in tokenizer.vocab.special for i in ids)
