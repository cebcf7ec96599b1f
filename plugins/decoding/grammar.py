"""Constrained decoding: the completion matches a regular expression or a JSON schema.

Willard & Louf 2023, https://arxiv.org/abs/2307.09702; the masks of allowed tokens come from
llguidance (https://github.com/guidance-ai/llguidance), which parses the bytes of the tokens. A
token that no continuation can match has a score of -inf; `decoding/inner` chooses among the others.
A stop token is allowed as soon as the text matches, and nothing else once it is complete, so that a
completion that ends before its limit always parses. JSON has no optional white space:

    decoding=grammar 'decoding.pattern=[0-9]{4}-[0-9]{2}' decoding/inner=sample
    decoding=grammar decoding.format=json_schema decoding.pattern=schema.json
"""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from omegaconf import MISSING
from torch import Tensor

from etude import ConfigError, option, plugin, require
from etude.config import DecodingConfig, build
from etude.data import Tokenizer
from etude.network import Decoding, History


class Format(Enum):
    """The language of `pattern`."""

    regex = "regex"
    json_schema = "json_schema"


@dataclass
class GrammarConfig(DecodingConfig):
    inner: DecodingConfig = option("greedy")
    pattern: str = MISSING
    """The regular expression of the completion (Rust syntax, no lookaround), or the path of the
    file with its JSON schema."""
    format: Format = Format.regex
    """regex = `pattern` is a regular expression; json_schema = the path of a JSON schema."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, off in (("repetition_penalty", 1.0), ("no_repeat_ngram", None)):
            require(vars(self)[name] == off, f"{name} is a key of inner here: set inner.{name}")

    @property
    def left_to_right(self) -> bool:
        return True


class _Pieces:
    """The tokenizer as llguidance reads it: the bytes of each token, and how text is encoded."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        vocab = tokenizer.vocab
        self.eos_token_id = vocab.eos
        self.bos_token_id = vocab.known(vocab.bos)
        self.special_token_ids = sorted(vocab.special)
        self.tokens = [
            text or f"\xff<{i}>".encode("latin-1") for i, text in enumerate(tokenizer.token_bytes)
        ]
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text).tolist()


def grammar_of(config: GrammarConfig) -> str:
    """Returns the grammar in llguidance's format. Raises ConfigError for an invalid one."""
    from llguidance import LLMatcher

    if config.format is Format.regex:
        grammar = LLMatcher.grammar_from_regex(config.pattern)
    else:
        file = Path(config.pattern).expanduser()
        if not file.is_file():
            raise ConfigError(
                f"decoding.pattern={config.pattern} is not a file with a JSON schema."
            )
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                file.read_text(encoding="utf-8"), overrides={"whitespace_flexible": False}
            )
        except ValueError as error:  # not JSON
            raise ConfigError(f"decoding.pattern={config.pattern}: {error}") from error
    if problem := LLMatcher.validate_grammar(grammar):
        raise ConfigError(f"decoding.pattern={config.pattern} is not supported: {problem}")
    return grammar


@plugin(GrammarConfig, extra="llguidance", example={"pattern": "[a-z]+( [a-z]+)*"})
class Grammar(Decoding):
    """Excludes tokens that cannot continue a match, then lets another decoding choose."""

    def __init__(self, config: GrammarConfig, tokenizer: Tokenizer) -> None:
        from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

        self.inner: Decoding = build(config.inner, tokenizer)
        self.stops = tokenizer.vocab.stops
        pieces = LLTokenizer(TokenizerWrapper(_Pieces(tokenizer)))
        self.start = LLMatcher(pieces, grammar_of(config))

    def begin(self) -> tuple[Any, Any]:
        """Returns the state of the match, which no method changes, and that of `inner`."""
        return self.start, self.inner.begin()

    def advance(self, state: tuple[Any, Any], token: int) -> tuple[Any, Any]:
        matcher = state[0].deep_copy()
        if not matcher.is_stopped() and token not in self.stops:
            matcher.consume_token(token)
        return matcher, self.inner.advance(state[1], token)

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        allowed = np.stack(
            [self._allowed(matcher, logits.shape[1]) for matcher, _ in history.states]
        )
        excluded = torch.from_numpy(~allowed).to(logits.device)
        inner = replace(history, states=[state for _, state in history.states])
        scores = self.inner.scores(logits.masked_fill(excluded, -torch.inf), inner)
        return scores.masked_fill(excluded, -torch.inf)

    def _allowed(self, matcher: Any, n_vocab: int) -> Any:
        """Returns which ids may come next: an array of booleans."""
        allowed = np.zeros(n_vocab, dtype=bool)
        if not matcher.is_stopped():
            bits = np.unpackbits(
                np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little"
            )
            n = min(n_vocab, len(bits))
            allowed[:n] = bits[:n]
            allowed[list(self.stops)] = matcher.is_accepting()
        if not allowed.any():  # the match is complete
            allowed[list(self.stops)] = True
        return allowed

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return self.inner.choose(scores, draw)

    def probabilities(self, scores: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        return self.inner.probabilities(scores)
