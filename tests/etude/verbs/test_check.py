"""`etude check`: what a verifier pays for the answers of its bench."""

import pytest

from etude.cli import main


def test_the_whole_bench_is_shown_with_the_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "reward=[format,length]", "reward.length.target=9"]) == 0
    said = capsys.readouterr().out
    assert "adversarial answer '<think></think>4': paid 0, a right one is paid 1" in said
    assert "format: 17 answers, 0% false positives, 0% false negatives" in said
    assert "length: " in said


def test_a_verifier_that_misjudges_is_refused_and_an_opinion_has_no_bench(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lenient = ("reward.regex.pattern=^[0-9]*$", "reward.http.url=http://localhost:1")
    assert main(["check", "reward=[http,regex]", *lenient]) == 2
    said = capsys.readouterr()
    assert "http has no bench" in said.out
    assert "MISJUDGED malformed answer ''" in said.out
    assert "reward=regex fails its own bench" in said.err
    assert main(["check"]) == 2
    assert "none is chosen" in capsys.readouterr().err
