"""Laws of chat templates: answers are separable and end, and messages cannot inject tokens."""

from etude.config.registry import build
from etude.data.chat_template import Conversation, conversation, prompt
from etude.data.tokenizer import Tokenizer
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.records import Message

TALK = (
    Message("user", "Hi there"),
    Message("assistant", "Hello!"),
    Message("user", "Why?"),
    Message("assistant", "Because."),
)


def every_answer_is_told_apart(trial: Trial) -> Finding:
    """There is one span per assistant turn, and each decodes to that turn's text."""
    made = _made(trial)
    whole = conversation(made, TALK)
    said = _answers(made, whole)
    wanted = [message.content for message in TALK if message.role == "assistant"]
    return holds([text.strip() for text in said] == wanted, f"{said} of {wanted}")


def a_prompt_has_the_ids_that_it_has_in_training(trial: Trial) -> Finding:
    """The ids of a prompt equal those before the answer in a training conversation."""
    made = _made(trial)
    whole = conversation(made, TALK).ids.tolist()
    for n in (1, 3):
        asked = prompt(made, TALK[:n])
        if whole[: len(asked)] != asked:
            return broken(f"message {n + 1} is learned behind other ids than it is asked behind")
    return held("2 prompts")


def every_answer_ends(trial: Trial) -> Finding:
    """The last id of an answer is a stop token."""
    made = _made(trial)
    whole = conversation(made, TALK)
    last = [int(whole.ids[whole.turns == turn][-1]) for turn in range(1, whole.n_turns + 1)]
    shown = made.decode(last, skip_special=False)
    return holds(set(last) <= set(made.vocab.stops), f"answers end with {shown!r}")


def what_a_message_spells_is_text(trial: Trial) -> Finding:
    """A message that contains the text of special tokens is not encoded with them."""
    made = _made(trial)
    plain = _n_special(made, "ab")
    for literal in made.literals.values():
        if (n := _n_special(made, f"a{literal}b")) != plain:
            return broken(f"{literal!r} in a message makes {n} special ids of {plain}")
    return held(f"{len(made.literals)} tokens spelled")


def _made(trial: Trial) -> Tokenizer:
    return build(trial.tried, trial.corpus.tokenizer)


def _answers(made: Tokenizer, whole: Conversation) -> list[str]:
    return [made.decode(whole.ids[whole.turns == turn]) for turn in range(1, whole.n_turns + 1)]


def _n_special(made: Tokenizer, content: str) -> int:
    ids = conversation(made, (Message("user", content), *TALK[1:])).ids.tolist()
    return sum(i in made.vocab.special for i in ids)
