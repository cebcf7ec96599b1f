from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.data.documents import TARGET_BYTES, Document, split_documents

WORDS = ["one", "two.", "three! ", "句子。", "“引用。”", " ", "\t", "\n", "\n\n", "\n \n", "é😀"]
texts = st.lists(st.sampled_from(WORDS), max_size=200).map("".join) | st.text(max_size=500)
long_texts = st.lists(st.sampled_from([w * 300 for w in WORDS]), max_size=12).map("".join)


@settings(max_examples=200, deadline=None)
@given(text=texts | long_texts)
def test_concatenated_blocks_equal_the_text(text: str) -> None:
    assert "".join(split_documents(text.splitlines(keepends=True), Document.blocks)) == text


@settings(max_examples=100, deadline=None)
@given(text=texts | long_texts)
def test_no_block_is_longer_than_the_target(text: str) -> None:
    sizes = [
        len(block.encode())
        for block in split_documents(text.splitlines(keepends=True), Document.blocks)
    ]
    assert all(0 < size <= TARGET_BYTES for size in sizes)
    assert all(a + b > TARGET_BYTES // 2 for a, b in pairwise(sizes))


def test_paragraphs_are_not_split() -> None:
    paragraphs = [f"{word * 60}\n\n" for word in ("alpha ", "beta ", "伽马。", "delta ")] * 10
    lines = "".join(paragraphs).splitlines(keepends=True)
    assert all(block.endswith("\n\n") for block in split_documents(lines, Document.blocks))


def test_a_chinese_text_without_line_breaks_is_split_between_sentences() -> None:
    text = "模型给出一个词序列的概率。" * 500
    blocks = list(split_documents([text], Document.blocks))
    assert len(blocks) > 5
    assert all(block.endswith("。") for block in blocks)


@pytest.mark.parametrize(
    ("into", "documents"),
    [
        (Document.line, ["one", "  two", "三"]),
        (Document.file, ["one\n\n  two\n \n三"]),
        (Document.blocks, ["one\n\n  two\n \n三"]),
    ],
)
def test_each_unit_yields_its_documents(into: Document, documents: list[str]) -> None:
    assert list(split_documents(["one\n", "\n", "  two\n", " \n", "三"], into)) == documents


def test_an_empty_text_has_no_documents() -> None:
    assert [list(split_documents([], into)) for into in Document] == [[], [], []]
