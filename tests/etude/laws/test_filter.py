"""The laws of filters hold for every shipped filter, and each finds the fault that it is about."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.schema.filter import FilterConfig
from etude.data.filter import Change, Drop, Edit, Filter
from etude.laws import filter as laws
from etude.laws.trial import Trial
from etude.laws.verdict import Verdict
from etude.records import Record, Text


class Faulty(Filter[FilterConfig]):
    """Decides what the test tells it to, and counts its calls over all of its copies."""

    per_record = True

    def __init__(self, fault: str) -> None:
        super().__init__(FilterConfig())
        self.fault = fault
        self.n = 0

    def decide(self, record: Record) -> Drop | Change | None:
        self.n += 1
        match self.fault:
            case "random":
                return Drop("rule", self.n, 1)
            case "nameless":
                return Drop("", 1, 1)
            case "not finite":
                return Drop("rule", 1, float("nan"))
            case "later":
                return Drop("rule", 1, 1, other=self.n)
            case "no edit":
                return Change(Text("a"), [])
            case "other kind":
                return Change(Text("a"), [Edit("rule", "", "a")])
            case "same":
                return Change(replace(record), [Edit("rule", "", "a")])
            case _:
                return Drop("short", 1, 2) if self.n % 2 else None

    def fingerprint(self) -> str:
        self.n += 1
        return str(self.n)


FAULTS = [
    ("half", laws.decisions_are_about_one_record),
    ("random", laws.decisions_are_reproducible),
    ("nameless", laws.every_decision_has_its_reason),
    ("not finite", laws.every_decision_has_its_reason),
    ("later", laws.every_decision_has_its_reason),
    ("no edit", laws.every_decision_has_its_reason),
    ("other kind", laws.a_changed_record_is_of_the_same_kind),
    ("same", laws.a_changed_record_is_of_the_same_kind),
    ("half", laws.filtering_again_changes_nothing),
    ("random", laws.the_fingerprint_is_stable),
]


@pytest.mark.parametrize(("fault", "law"), FAULTS)
def test_a_faulty_filter_breaks_the_law(
    fault: str, law: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trial(tiny.part("filter", "length"), tiny.experiment("clm", tmp_path), tmp_path)
    assert law(made).verdict is Verdict.HELD
    one = Faulty(fault)
    fresh = law in (laws.decisions_are_reproducible, laws.the_fingerprint_is_stable)
    monkeypatch.setattr(laws, "build", lambda _: one if fresh else Faulty(fault))
    assert law(made).verdict is Verdict.BROKEN
