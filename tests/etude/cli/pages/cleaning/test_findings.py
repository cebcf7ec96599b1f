import json
import math
from pathlib import Path

from row_files import reader

from etude.cli.pages.cleaning.findings import MIN_COUNT, associations, findings_of
from etude.data.corpus import read
from etude.plugins.filter.exact import ExactConfig


def test_findings_describe_the_records_before_and_after(tmp_path: Path) -> None:
    texts = ["one two three four", "ONE two three four!", "你好你好", "a b c", "one two three five"]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    found = findings_of(read(reader("text", file), {"exact": ExactConfig()}))
    assert found.before == {4: 3, 2: 2}
    assert found.after == {4: 2, 2: 2}
    assert found.top_ngrams[0] == ("one two three", 2)
    assert ("你 好 你", 1) in found.top_ngrams
    assert found.n_sampled == 4
    (decisions,) = found.dropped.values()
    (example,) = decisions.examples
    assert (decisions.n, example.text, example.other) == (1, texts[1], texts[0])
    assert not found.changed


def test_associations_are_pointwise_mutual_information() -> None:
    near = ["she", "x"] * MIN_COUNT
    far = ["y"] * 90
    (group, (n, rows)), *others = associations([near, far]).items()
    assert (group, n, others) == ("female", MIN_COUNT, [])
    assert rows == [("x", MIN_COUNT, math.log2(100 / MIN_COUNT))]
