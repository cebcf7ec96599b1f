"""What makes the Rust code of `tokenizers` fail is an error that says so, not a panic."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError

CATASTROPHES = {"(a+)+$": "a" * 200 + "b", "(x+x+)+y": "x" * 1000}
"""Patterns that backtrack without end on a text."""


def hostile(folder: Path, **parts: Any) -> Tokenizer:
    """A byte tokenizer with other parts in its tokenizer.json."""
    tiny.BYTES.save(folder)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))
    return Tokenizer.load(folder)


@pytest.mark.parametrize("pattern", CATASTROPHES)
@pytest.mark.parametrize("place", ["normalizer", "pre_tokenizer"])
def test_a_pattern_that_backtracks_without_end_is_stopped(
    pattern: str, place: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"pattern": {"Regex": pattern}}
    parts = {
        "normalizer": {"type": "Replace", "content": "b", **given},
        "pre_tokenizer": {"type": "Split", "behavior": "Isolated", "invert": False, **given},
    }
    tokenizer = hostile(tmp_path, **{place: parts[place]})
    for encode in (tokenizer.encode, tokenizer.encode_with_special):
        with pytest.raises(CheckpointError, match="cannot encode a text"):
            encode(CATASTROPHES[pattern])


def test_a_file_that_makes_tokenizers_fail_is_damaged(tmp_path: Path) -> None:
    for part in ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, {"type": "Nothing"}):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
            hostile(tmp_path, normalizer=part)
