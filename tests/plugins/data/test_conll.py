"""Sentences of CoNLL files, as in CoNLL-2003, WNUT and CoNLL-U."""

from pathlib import Path

import pytest
from defaults import default
from row_files import rows_of

from etude.records import BadRow, Labelled, Unused

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O

Peter NNP B-NP B-PER
"""
EU = Labelled(("EU", "rejects"), ("B-ORG", "O"))
UNUSED = [Unused("field 'column_2'"), Unused("field 'column_3'")]


def read(content: str, folder: Path, **columns: str) -> list[object]:
    file = folder / "rows.conll"
    file.write_text(content, encoding="utf-8")
    return rows_of(default("data/conll", path=str(file), columns=columns))


def test_sentences_of_conll_2003_have_the_last_column_as_tags(tmp_path: Path) -> None:
    peter = Labelled(("Peter",), ("B-PER",))
    assert read(CONLL_2003, tmp_path) == [EU, *UNUSED, peter, *UNUSED]
    first, *_ = read(CONLL_2003, tmp_path, tags="column_2")
    assert first == Labelled(("EU", "rejects"), ("NNP", "VBZ"))


def test_tabs_divide_words_that_contain_spaces_and_comments_are_skipped(tmp_path: Path) -> None:
    content = "# text = 新 年\n新 年\tB-DATE\r\n#\tO\n\n\n好\tO"
    assert read(content, tmp_path) == [
        Labelled(("新 年", "#"), ("B-DATE", "O")),
        Labelled(("好",), ("O",)),
    ]


@pytest.mark.parametrize("content", ["word\n", "a O\nb\n", "a O\nb X O\n"])
def test_a_sentence_with_missing_columns_is_a_bad_row(content: str, tmp_path: Path) -> None:
    bad, good = read(f"{content}\nc O\n", tmp_path)
    assert isinstance(bad, BadRow)
    assert bad.place.endswith("rows.conll:1")
    assert good == Labelled(("c",), ("O",))
