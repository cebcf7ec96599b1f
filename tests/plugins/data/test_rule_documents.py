from collections import Counter

import pytest

from etude.config.registry import build
from etude.plugins.data._rules import Rule, answer
from etude.plugins.data.rule_documents import RuleDocumentsConfig


def test_the_lines_of_a_document_follow_one_rule_and_all_rules_are_equally_likely() -> None:
    counts: Counter[Rule] = Counter()
    for document in build(RuleDocumentsConfig(n_documents=1000)).records():
        lines = [line.split(": ") for line in document.text.splitlines()]
        assert len(lines) == 8
        fitting = [r for r in Rule if all(answer(r, digits) == found for digits, found in lines)]
        assert len(fitting) == 1
        counts[fitting[0]] += 1
    assert all(n / 1000 == pytest.approx(0.2, abs=0.04) for n in counts.values())


@pytest.mark.parametrize("name", ["n_documents", "n_lines", "size"])
def test_invalid_values_are_rejected_by_key_and_value(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        RuleDocumentsConfig(**{name: 0})
