"""The kind of record that a data config yields."""

from etude.config.registry import plugin_of
from etude.config.schema.plugins import DataConfig, TextDataConfig
from etude.records import Text


def kind_of(config: DataConfig) -> type | None:
    """The kind of record of a data config, declared by the config that reads its records."""
    return plugin_of(config.reader).declaration.yields


def text_config(config: DataConfig) -> TextDataConfig | None:
    """The config if it yields raw text, which is packed into rows of tokens; None otherwise."""
    return config if isinstance(config, TextDataConfig) and kind_of(config) is Text else None
