"""KTO's samples: completions judged one by one, each with one written for another prompt."""

from dataclasses import dataclass

from etude import Feedback, Preference
from etude.data import Samples


@dataclass(frozen=True)
class Judged:
    """A judged completion, and a mismatched one that was written for another prompt."""

    prompt: str
    completion: str
    desirable: bool
    other: str


@dataclass(frozen=True)
class Judgements:
    """Samples: each completion, with one of the next record (cyclically) with another prompt."""

    records: Samples
    threshold: float

    def __len__(self) -> int:
        return len(self.records) * len(split(self.records[0]))

    def __getitem__(self, index: int) -> Judged:
        n = len(self.records)
        place, side = divmod(index, len(split(self.records[0])))
        own = split(self.records[place])[side]
        behind = (split(self.records[(place + i) % n])[side] for i in range(1, n + 1))
        other = next((f for f in behind if f.prompt != own.prompt), own)
        return Judged(own.prompt, own.completion, own.score > self.threshold, other.completion)


def split(record: Feedback | Preference) -> list[Feedback]:
    """The completions of a record, each with a score."""
    if isinstance(record, Feedback):
        return [record]
    pair = (record.chosen, 1.0), (record.rejected, 0.0)
    return [Feedback(record.prompt, *judged) for judged in pair]
