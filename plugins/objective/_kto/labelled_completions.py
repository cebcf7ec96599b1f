"""KTO's samples: labelled completions, each with a completion of another prompt."""

from dataclasses import dataclass

from etude import Chat, Feedback, Message, Preference
from etude.data import Samples


@dataclass(frozen=True)
class LabelledCompletion:
    """A completion with its label, and a mismatched completion, of another prompt."""

    prompt: str | Chat
    completion: str | Message
    desirable: bool
    mismatched: str | Message


@dataclass(frozen=True)
class LabelledCompletions:
    """Samples: each completion, with one of the next record (cyclically) with another prompt."""

    records: Samples
    threshold: float

    def __len__(self) -> int:
        return len(self.records) * len(split(self.records[0]))

    def __getitem__(self, index: int) -> LabelledCompletion:
        n = len(self.records)
        place, side = divmod(index, len(split(self.records[0])))
        one = split(self.records[place])[side]
        later = (split(self.records[(place + i) % n])[side] for i in range(1, n + 1))
        other = next((f for f in later if f.prompt != one.prompt), one)
        desirable = one.score > self.threshold
        return LabelledCompletion(one.prompt, one.completion, desirable, other.completion)


def split(record: Feedback | Preference) -> list[Feedback]:
    """The completions of a record, each with a score."""
    if isinstance(record, Feedback):
        return [record]
    pair = (record.chosen, 1.0), (record.rejected, 0.0)
    return [Feedback(record.prompt, *scored) for scored in pair]
