"""Reads data files into samples and tokenises text."""

from etude.data.byte_alphabet import BYTE_ALPHABET, BYTE_CHARACTERS
from etude.data.chat_template import DEFAULT, LITERALS, TemplateError, conversation, exchange
from etude.data.corpus import prepare
from etude.data.documents import Document, split_documents
from etude.data.readers import (
    BadFieldError,
    FileConfig,
    JsonlSource,
    JsonRow,
    checked_text,
    files,
    fingerprint,
    lines,
)
from etude.data.record_file import texts_of
from etude.data.source import DataSource, Samples
from etude.data.token_rows import TokenRow, TokenRows
from etude.data.tokenizer import SMALLEST_OF_BYTES, SPECIAL_TOKENS, Tokenizer, TokenizerSource
from etude.data.vocab import Vocab
