import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from etude.errors import ConfigError
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Decoding, Greedy
from etude.network.generation import GenerationOptions, Generator, Request

VOCAB = tiny.BYTES.vocab
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "tags": {"type": "array", "items": {"enum": ["a", "bc"]}, "maxItems": 2},
        "is_new": {"type": "boolean"},
    },
    "required": ["name", "tags", "is_new"],
    "additionalProperties": False,
}


def texts(decoding: Decoding, generator: Generator | None = None, n: int = 60) -> list[str]:
    """Completions of a random network, each ended by a stop token."""
    made = tiny.network(vocab=VOCAB)
    requests = [Request([100 + i], np.random.default_rng(i), n) for i in range(8)]
    rows = (generator or Autoregressive()).generate(made, requests, GenerationOptions(decoding))
    assert all(row.ended for row in rows)
    return [tiny.BYTES.decode(row.ids) for row in rows]


@pytest.mark.parametrize("inner", ["greedy", "sample", "typical"])
def test_every_completion_matches_the_regular_expression(inner: str) -> None:
    pattern = r"(yes|no), [0-9]{2,4}( é)?\."
    decoding = tiny.decoding("grammar", pattern=pattern, inner=tiny.part("decoding", inner))
    found = texts(decoding)
    assert all(re.fullmatch(pattern, text) for text in found)
    assert inner == "greedy" or len({*found}) > 2


def test_every_completion_is_json_of_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    sampled = tiny.part("decoding", "sample", temperature=0.5)
    decoding = tiny.decoding("grammar", pattern=str(file), format=json_schema(), inner=sampled)
    for text in texts(decoding, n=400):
        row = json.loads(text)
        assert {type(value) for value in row.values()} == {str, list, bool}
        assert set(row["tags"]) <= {"a", "bc"}


def json_schema() -> object:
    formats = type(tiny.part("decoding", "grammar").format)
    return formats.json_schema


@pytest.mark.parametrize("name", ["beam", "speculative"])
def test_the_match_follows_the_rows_of_every_generator(name: str, tmp_path: Path) -> None:
    """Beams copy states, and speculative decoding goes back to earlier ones."""
    values = {"draft": str(tiny.trained_run(tmp_path))} if name == "speculative" else {}
    pattern = r"[a-f]{3,5}(-[0-9]{2}){1,3}"
    decoding = tiny.decoding("grammar", pattern=pattern)
    found = texts(decoding, tiny.generator(name, **values), 40)
    assert all(re.fullmatch(pattern, text) for text in found)


def test_the_most_likely_allowed_token_is_chosen() -> None:
    logits = torch.randn(1, VOCAB.size, generator=torch.Generator().manual_seed(0))
    made = tiny.decoding("grammar", pattern="[abc]")
    history = tiny.history([100])
    history = type(history)(history.tokens, [made.begin()])
    (chosen,) = made.choose(made.scores(logits, history), torch.zeros(1)).tolist()
    ids = [tiny.BYTES.encode(letter).item() for letter in "abc"]
    assert chosen == max(ids, key=lambda i: float(logits[0, i]))
    history = history.extend(torch.tensor([chosen]), made)
    assert made.scores(logits, history).isfinite().nonzero()[:, 1].tolist() == sorted(VOCAB.stops)


def test_without_a_grammar_the_network_writes_something_else() -> None:
    made = tiny.network(vocab=VOCAB)
    (ids,) = tiny.continuations(made, [[100]], 20, Greedy())
    assert not re.fullmatch(r"[a-f]{3,5}", tiny.BYTES.decode(ids))


def test_an_invalid_pattern_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"decoding\.pattern=\(a is not supported"):
        tiny.decoding("grammar", pattern="(a")
    with pytest.raises(ConfigError, match="is not a file with a JSON schema"):
        tiny.decoding("grammar", pattern="a.json", format=json_schema())
    file = tmp_path / "schema.json"
    for text in ("{", '{"type": "nothing"}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"decoding\.pattern="):
            tiny.decoding("grammar", pattern=str(file), format=json_schema())


def test_penalties_belong_to_the_inner_decoding() -> None:
    with pytest.raises(ValueError, match=r"set inner\.no_repeat_ngram"):
        tiny.decoding("grammar", pattern="a", no_repeat_ngram=2)
