"""étude: a plugin-based experiment framework for the whole life of a language model."""

from etude.capability import Capability
from etude.config.deferred_import import install
from etude.config.registry import plugin
from etude.config.schema.effect import only_with
from etude.config.schema.plugins import option, require
from etude.errors import ConfigError, DataError, ServerError
from etude.records import (
    CONVERSIONS,
    TOOL_ROLES,
    BadRow,
    Chat,
    Choice,
    Feedback,
    Labelled,
    Message,
    Pair,
    Place,
    Preference,
    Prompt,
    Question,
    Ranking,
    Record,
    SourceRow,
    StartOfValidation,
    Text,
    Unused,
)

install()  # before a plugin or a face of a room is imported
