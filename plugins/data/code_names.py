"""Lines of Python code whose words are tagged with what a name is, in IOB2.

About 6,400 lines of the standard library, without a download: FUNCTION and CLASS where they are
defined, PARAMETER of a definition, and CALL, the dotted name of what is called. The tags are those
of Python's own parser; a model sees the words of one line alone.
"""

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Labelled, plugin
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import by_hash, fingerprint, sources

SHARE = 32 / 256
"""Share of the files that are read, chosen by hash."""
WORDS = frozenset({tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING})
N_WORDS = range(3, 41)
"""Numbers of words of the lines that are kept."""
MAX_WORD = 24
"""Longest word, in characters; a line with a longer one, such as a text, is left out."""
DEFINED = {"def": "FUNCTION", "class": "CLASS"}
Place = tuple[int, int]


@dataclass
class CodeNamesConfig(DataConfig):
    """No knobs of its own."""


@plugin(CodeNamesConfig, yields=Labelled)
class CodeNames(DataSource[CodeNamesConfig]):
    """Yields the distinct lines with at least one name of interest, in order of their hashes."""

    def records(self) -> Iterator[Labelled]:
        found: dict[tuple[str, ...], tuple[str, ...]] = {}
        for module, text in sources():
            if by_hash(module)[0] < SHARE * 256:
                for words, tags in tagged_lines(text):
                    found.setdefault(words, tags)
        for words in sorted(found, key=by_hash):
            yield Labelled(words, found[words])

    def fingerprint(self) -> str:
        return fingerprint()


def tagged_lines(text: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yields the words and tags of each logical line that has a name of interest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes in old files
        try:
            spans = _spans(ast.parse(text), text.splitlines())
        except SyntaxError:
            return
    line: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in WORDS:
            line.append(token)
        elif token.type == tokenize.NEWLINE:
            words, tags = tuple(one.string for one in line), tuple(_tags(line, spans))
            if len(words) in N_WORDS and max(map(len, words)) <= MAX_WORD and {*tags} != {"O"}:
                yield words, tags
            line = []


def _spans(tree: ast.AST, lines: Sequence[str]) -> dict[Place, tuple[Place, str]]:
    """The end and the kind of each name, by its start: a line from 1 and a character from 0."""

    def place(line: int, byte: int) -> Place:
        return line, len(lines[line - 1].encode()[:byte].decode())

    spans: dict[Place, tuple[Place, str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, lineno=line, col_offset=byte):
                end = place(line, byte + len(name.encode()))
                spans[place(line, byte)] = (end, "PARAMETER")
            case ast.Call(func=ast.Name() | ast.Attribute() as called) if _is_dotted(called):
                end = place(called.end_lineno or 0, called.end_col_offset or 0)
                spans[place(called.lineno, called.col_offset)] = (end, "CALL")
            case _:
                pass
    return spans


def _is_dotted(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _tags(
    line: Sequence[tokenize.TokenInfo], spans: dict[Place, tuple[Place, str]]
) -> Iterator[str]:
    """Yields the tag of each word of a line."""
    end, kind = (0, 0), ""
    before = ""
    for token in line:
        if token.start < end:
            yield f"I-{kind}"
        elif before in DEFINED and token.type == tokenize.NAME:
            yield f"B-{DEFINED[before]}"
        elif token.start in spans:
            end, kind = spans[token.start]
            yield f"B-{kind}"
        else:
            yield "O"
        before = token.string
