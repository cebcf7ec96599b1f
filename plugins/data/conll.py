"""CoNLL files: a word and its tags per line, and a blank line after each sentence.

Tjong Kim Sang & De Meulder 2003, https://aclanthology.org/W03-0419. Columns are divided by tabs, or
by white space. `-DOCSTART-` lines are skipped, as are comments (`# ...`) before a sentence, as in
CoNLL-U. The first column is the field `tokens` and the last one `tags`; the others are `column_2`
and so on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, option, plugin
from etude.config import RecordConfig
from etude.data import Row, RowFileConfig, RowFileSource, lines

START = "-DOCSTART-"


@dataclass
class ConllConfig(RowFileConfig):
    record: RecordConfig = option("tags")


@plugin(ConllConfig, example={"path": "{file}word_# B-x\n\n"})
class Conll(RowFileSource[ConllConfig]):
    """A sentence whose lines differ in their number of columns is a bad row."""

    suffixes = (".conll", ".conllu", ".bio", ".iob", ".txt")

    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        place = ""
        sentence: list[list[str]] = []
        for line in lines(file):
            if isinstance(line, BadRow):
                yield line
                continue
            text = line[1].strip()
            if text and not text.startswith(START) and (sentence or not text.startswith("# ")):
                place = place if sentence else line[0]
                sentence.append(text.split("\t" if "\t" in text else None))
            elif not text and sentence:
                yield _row(place, sentence)
                sentence = []
        if sentence:
            yield _row(place, sentence)


def _row(place: str, sentence: Sequence[Sequence[str]]) -> Row | BadRow:
    n = len(sentence[0])
    if n < 2 or any(len(columns) != n for columns in sentence):
        return BadRow(
            place, "each line of a sentence needs the same columns, at least a word and a tag"
        )
    names = ["tokens", *(f"column_{i}" for i in range(2, n)), "tags"]
    return Row(place, {k: list(v) for k, v in zip(names, zip(*sentence, strict=True), strict=True)})
