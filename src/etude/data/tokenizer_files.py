"""The files next to a tokenizer.json: roles of the special tokens, and the chat template.

The format is Hugging Face's, so transformers' AutoTokenizer encodes and renders identically. In the
folder of a model, its config says which tokens end a completion and how many rows its table has.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers

from etude.data.encodings import reported
from etude.data.special_tokens import ROLES, USUAL
from etude.errors import CheckpointError
from etude.files.bounded import read_bounded
from etude.files.json_file import read_json, reading

CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
FREE_ROWS = 2**16
"""How many rows of the token table may be without a token, besides one for each token."""
ADDED: Final = "added_tokens_decoder"
ADDED_ROLES: Final = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_OURS: Final = "etude"  # the key of what Hugging Face's format has no field for


@dataclass(frozen=True)
class ModelFacts:
    """What the config of a model says about tokens; no tokenizer file has a field for it."""

    stops: tuple[str, ...] = ()
    """Tokens that end a completion, besides the roles eos and turn_end."""
    n_rows: int = 0
    """Rows of the token table, which may be more than the tokenizer has ids."""


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files next to a tokenizer.json say."""

    roles: Mapping[str, str]
    """The token of each role that the tokenizer has."""
    template: str | None = None
    """The chat template, in Jinja; None if there is none."""
    model: ModelFacts = ModelFacts()
    """What the model's config adds."""


def write(folder: Path, files: TokenizerFiles) -> None:
    """Writes tokenizer_config.json."""
    named = {f"{role}_token": files.roles.get(role) for role in ROLES}  # null: it has none
    turns = {key: named.pop(key) for key in ("turn_start_token", "turn_end_token")}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **named,
        "extra_special_tokens": {key: token for key, token in turns.items() if token},
        **({} if files.template is None else {"chat_template": files.template}),
        **({_OURS: model} if any((model := vars(files.model)).values()) else {}),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _inner(file: Path) -> tokenizers.Tokenizer:
    """Returns the tokenizer of a tokenizer.json. Raises CheckpointError if it cannot be read."""
    with reported(f"{file} cannot be read as a tokenizer"):
        return tokenizers.Tokenizer.from_file(str(file))


def read(file: Path) -> tuple[tokenizers.Tokenizer, TokenizerFiles]:
    """A tokenizer.json and what its folder says; adds the tokens that only other files name.

    A role is what the tokenizer's files name, else what the model's config names, else a usual
    token of the vocabulary. Raises CheckpointError for a file that is not valid.
    """
    inner = _inner(file)
    merged = _fields(file, CONFIG)
    if ADDED not in merged:  # transformers reads this older file only then
        merged |= _fields(file, "special_tokens_map.json")
    extra: Any = merged.get("extra_special_tokens")
    merged |= extra if isinstance(extra, dict) else {}
    _add_named(inner, merged, file.with_name(CONFIG))
    vocabulary = inner.get_vocab(with_added_tokens=True)
    config = _fields(file, "config.json")
    literals = {i: literal for literal, i in vocabulary.items()}
    found: dict[str, Any] = {}
    for role in ROLES:
        usual = (literal for literal in USUAL[role] if literal in vocabulary)
        default = next(iter((*_tokens(config.get(f"{role}_token_id"), literals), *usual)), None)
        token = merged.get(f"{role}_token", default)
        found[role] = token["content"] if isinstance(token, dict) else token  # an AddedToken
    found["bos"] = found["bos"] or found["cls"]  # BERT's texts begin and end with these
    found["eos"] = found["eos"] or found["sep"]
    roles = {role: literal for role, literal in found.items() if literal}
    if _OURS in merged:
        kept = merged[_OURS]
        model = ModelFacts(tuple(kept["stops"]), kept["n_rows"])
    else:
        stops = (config | _fields(file, "generation_config.json")).get("eos_token_id")
        n_rows = config.get("vocab_size")
        model = ModelFacts(_tokens(stops, literals), n_rows if isinstance(n_rows, int) else 0)
    _require_near(file, "an id", max(vocabulary.values(), default=0), len(vocabulary))
    _require_near(file.with_name("config.json"), "vocab_size", model.n_rows, len(vocabulary))
    return inner, TokenizerFiles(roles, _template(file, merged), model)


def _require_near(file: Path, name: str, value: int, n_tokens: int) -> None:
    """Raises CheckpointError if a table would have far more rows than there are tokens."""
    limit = 2 * n_tokens + FREE_ROWS
    if value > limit:
        raise CheckpointError(
            f"{file} has {name} of {value}, and {n_tokens:,} tokens: at most {limit:,} is credible."
        )


def _add_named(inner: tokenizers.Tokenizer, fields: Mapping[str, Any], file: Path) -> None:
    """Adds the tokens that `fields` name and the tokenizer lacks, in the order of transformers."""
    extra = fields.get("extra_special_tokens") or fields.get("additional_special_tokens")
    named = [fields.get(f"{role}_token") for role in ADDED_ROLES]
    listed = sorted(fields.get(ADDED, {}).items(), key=lambda item: int(item[0]))
    every = [*(token for _, token in listed), *named, *(extra if isinstance(extra, list) else [])]
    for one in filter(None, every):
        settings: dict[str, Any] = {"special": True, "normalized": False}
        settings |= one if isinstance(one, dict) else {"content": one}
        settings.pop("__type", None)
        try:
            token = tokenizers.AddedToken(**settings)
        except TypeError as error:
            raise CheckpointError(f"{file} has a token that cannot be read: {error}") from error
        if inner.token_to_id(token.content) is None:
            inner.add_tokens([token])


def _tokens(ids: Any, literals: Mapping[int, str]) -> tuple[str, ...]:
    """The tokens of a field such as eos_token_id: one id, several, or none."""
    given = ids if isinstance(ids, list) else [ids]
    return tuple(literals[i] for i in given if isinstance(i, int) and i in literals)


def _fields(beside: Path, name: str) -> dict[str, Any]:
    """The content of a JSON file in the same folder; empty if it does not exist."""
    place = beside.with_name(name)
    return read_json(place) if place.is_file() else {}


def _template(file: Path, merged: Mapping[str, Any]) -> str | None:
    """The default chat template; some models have further ones, for tools."""
    if (place := file.with_name(TEMPLATE)).is_file():
        with reading(place):
            return read_bounded(place).decode()
    found = merged.get("chat_template")
    if isinstance(found, list):
        return next((one["template"] for one in found if one["name"] == "default"), None)
    return found
