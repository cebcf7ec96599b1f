"""Reads data files into samples and tokenises text."""

from etude.data.byte_alphabet import BYTE_ALPHABET, BYTE_CHARACTERS
from etude.data.chat_template import (
    DEFAULT,
    DEFAULT_OF_BASES,
    LITERALS,
    Conversation,
    RewrittenTurnError,
    assistant_turns,
    conversation,
    exchange,
    message_labels,
)
from etude.data.corpus import prepare
from etude.data.documents import Document, split_documents
from etude.data.file_parts import FilePart
from etude.data.file_search import find_files
from etude.data.filter import Change, Drop, Edit, Filter, document_of
from etude.data.json_rows import json_parts, read_json_rows
from etude.data.readers import (
    MAX_LINE_CHARS,
    FileConfig,
    FileSource,
    UnreadableError,
    line_parts,
    lines,
    open_text,
    pieces,
)
from etude.data.rendering import TemplateError
from etude.data.rows import (
    BadFieldError,
    MissingFieldError,
    RecordReader,
    Row,
    RowFileConfig,
    RowFileSource,
    RowsConfig,
    records_of,
    valid_text,
)
from etude.data.source import DataSource, MixedOrder, MixedSource, Samples, SourceSamples
from etude.data.special_tokens import SPECIAL_TOKENS, require_bytes, reserved_tokens
from etude.data.token_rows import TokenRow, TokenRows
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_source import TokenizerSource
from etude.data.vocab import Vocab
from etude.data.words import LETTER, MARKS, UNSPACED, ngrams, words_of
