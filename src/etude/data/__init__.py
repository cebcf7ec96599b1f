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
)
from etude.data.corpus import prepare
from etude.data.documents import Document, split_documents
from etude.data.file_search import find_files
from etude.data.json_rows import (
    BadFieldError,
    JsonlSource,
    JsonRow,
    MissingFieldError,
    valid_text,
)
from etude.data.readers import FileConfig, FileSource, lines, pieces
from etude.data.rendering import TemplateError
from etude.data.source import DataSource, MixedOrder, MixedSource, Samples, SourceSamples
from etude.data.special_tokens import SPECIAL_TOKENS, require_bytes, reserved_tokens
from etude.data.token_rows import TokenRow, TokenRows
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_source import TokenizerSource
from etude.data.vocab import Vocab
