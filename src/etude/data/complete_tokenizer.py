"""Completes a tokenizer with what the objective of an experiment needs of it."""

from etude.config.config_file import nodes
from etude.config.record_kind import kind_of
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.data import chat_template
from etude.data.tokenizer import Tokenizer
from etude.records import PROMPTED, Chat, Text


def complete_tokenizer(tokenizer: Tokenizer, config: ExperimentConfig) -> Tokenizer:
    """The tokenizer with the tokens and the chat template that the objective needs."""
    if kind_of(config.data) is Text:
        parts = [plugin_of(node).declaration for _, node in nodes(config.objective)]
        tokenizer = tokenizer.with_tokens(frozenset[str]().union(*(part.tokens for part in parts)))
    reads = plugin_of(config.objective).declaration.reads
    if Chat in reads or (config.template is not None and reads & PROMPTED):
        return _with_template(tokenizer, config)
    return tokenizer


def _with_template(tokenizer: Tokenizer, config: ExperimentConfig) -> Tokenizer:
    """The tokenizer with the configured chat template, else its own, else étude's default."""
    if config.template is not None:
        return build(config.template, tokenizer)
    if tokenizer.template:
        return tokenizer
    if config.init_from is not None:
        return tokenizer.with_template(chat_template.DEFAULT_OF_BASES, {})
    return tokenizer.with_template(chat_template.DEFAULT, chat_template.LITERALS)
