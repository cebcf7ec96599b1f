"""The files next to a tokenizer.json: roles of the special tokens, and the chat template.

The format is Hugging Face's, so transformers' AutoTokenizer encodes and renders identically.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from etude.errors import CheckpointError

ROLES: Final = ("pad", "unk", "bos", "eos", "mask", "cls", "sep", "turn_start", "turn_end")
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
TURNS: Final = {
    "turn_start": ("<|im_start|>", "<start_of_turn>", "<|start_header_id|>"),
    "turn_end": ("<|im_end|>", "<end_of_turn>", "<|eot_id|>"),
}
"""The tokens that begin and end a turn in known model families; their files do not name them."""

_SENTINEL: Final = re.compile(r"<(?:sentinel|extra_id)_(\d+)>")  # ours, and T5's


def write(folder: Path, roles: Mapping[str, str], template: str | None) -> None:
    """Writes tokenizer_config.json."""
    named = {f"{role}_token": literal for role, literal in roles.items()}
    turns = {key: named.pop(key) for key in ("turn_start_token", "turn_end_token")}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **named,
        "extra_special_tokens": turns,
        **({} if template is None else {"chat_template": template}),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read(file: Path, vocabulary: Mapping[str, int]) -> tuple[dict[str, str], str | None]:
    """The tokens of the roles and the chat template, from the folder of a tokenizer.json.

    Raises CheckpointError for a file that is not JSON.
    """
    merged: dict[str, Any] = {}
    for name in ("special_tokens_map.json", CONFIG):
        if (place := file.with_name(name)).is_file():
            try:
                merged |= json.loads(place.read_text(encoding="utf-8"))
            except ValueError as error:
                raise CheckpointError(f"{place} is not JSON: {error}") from error
    extra: Any = merged.get("extra_special_tokens")
    merged |= extra if isinstance(extra, dict) else {}
    found: dict[str, Any] = {role: merged.get(f"{role}_token") for role in ROLES}
    for role, token in found.items():
        if isinstance(token, dict):  # a serialised AddedToken
            found[role] = token["content"]
    found["bos"] = found["bos"] or found["cls"]  # BERT's texts begin and end with these
    found["eos"] = found["eos"] or found["sep"]
    for role, literals in TURNS.items():
        known = (literal for literal in literals if literal in vocabulary)
        found[role] = found[role] or next(known, None)
    return {role: literal for role, literal in found.items() if literal}, _template(file, merged)


def _template(file: Path, merged: Mapping[str, Any]) -> str | None:
    """The default chat template; some models have further ones, for tools."""
    if (place := file.with_name(TEMPLATE)).is_file():
        return place.read_text(encoding="utf-8")
    found = merged.get("chat_template")
    if isinstance(found, list):
        return next((one["template"] for one in found if one["name"] == "default"), None)
    return found


def sentinels_of(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """The sentinel tokens of a vocabulary, in order; empty if it has none."""
    numbered = ((literal, _SENTINEL.fullmatch(literal)) for literal in vocabulary)
    found = {int(match[1]): literal for literal, match in numbered if match}
    return tuple(found[i] for i in sorted(found))


def rename_tokens(text: str, names: Mapping[str, str]) -> str:
    """A tokenizer.json with some tokens renamed and everything else unchanged."""
    given: dict[str, Any] = json.loads(text)
    for added in given["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    pieces = given["model"]["vocab"]
    given["model"]["vocab"] = (
        {names.get(piece, piece): i for piece, i in pieces.items()}
        if isinstance(pieces, dict)
        else [[names.get(piece, piece), score] for piece, score in pieces]
    )
    return json.dumps(given, ensure_ascii=False)
