"""`etude check` reports every law, and its exit code is 2 if any is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

import etude.plugins
from etude.cli.main import main
from etude.cli.verbs.check import TESTABLE
from etude.cli.verbs.new import files_of_plugin


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a plugin as `etude new` does, with one replacement."""

    def write(group: str, name: str, old: str = "", new: str = "") -> None:
        for file, text in files_of_plugin(group, name).items():
            assert old in text or "tests" in file.parts
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(old, new) if old else text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())

    return write


def test_the_report_of_a_verifier_shows_its_benchmark_with_the_rates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "reward=[format,length]", "reward.length.target=9"]) == 0
    out = capsys.readouterr().out
    assert "adversarial answer '<think></think>4': reward 0; a right answer gets 1" in out
    assert "17 answers, 0% false positives, 0% false negatives" in out
    assert out.count("every law holds") == 2


@pytest.mark.slow
def test_a_verifier_that_scores_wrongly_breaks_a_law_and_other_rewards_have_no_benchmark(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "reward=regex", "reward.regex.pattern=^[0-9]*$"]) == 2
    out = capsys.readouterr().out
    assert "MISJUDGED malformed answer ''" in out
    assert "1 of 4 laws are broken" in out
    no_server = "reward.http.url=http://localhost:1"
    assert main(["check", "reward=http", no_server]) == 2
    out = capsys.readouterr().out
    assert "not applicable  its bench is scored correctly" in out
    assert "broken          every answer gets one score" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "needs a plugin of a group with laws"),
        ("trainer=none", "needs a plugin of a group with laws"),
        ("strategy=fsdp trainer.precision=64", "It supports 32, bf16-mixed, bf16-true."),
        ("objective=nothing", "objective=nothing does not exist."),
        ("objective=mlm architecture=llama", "objective=mlm cannot train architecture=llama."),
        ("data=text data.pathh=a", "Did you mean data.path?"),
    ],
)
def test_plugins_that_cannot_be_tested_are_refused(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_every_testable_group_has_laws() -> None:
    from etude.laws.suites import SUITES

    assert {group.partition("/")[0] for group in SUITES} == set(TESTABLE)


@pytest.mark.parametrize(
    "chosen",
    [
        "schedule=cosine", "decoding=sample", "data=sorting", "template=chatml",
        "judge=rule judge.margin=0.5 reward=numeric", "judge=rule", "reward=length",
        "data=jsonl_chats", "tokenizer=byte", "scorer=exact scorer.ignore_case=true",
        "prompting=zero_shot", "evaluator=generation",
    ],
)  # fmt: skip
def test_shipped_plugins_keep_every_law(chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *chosen.split()]) == 0
    out = capsys.readouterr().out
    assert out.endswith("every law holds\n")
    assert "broken" not in out


@pytest.mark.slow
@pytest.mark.proof
def test_an_objective_that_averages_its_loss_breaks_laws(
    plugin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("objective", "averaging", "Loss(losses.sum(),", "Loss(losses.mean(),")
    assert main(["check", "objective=averaging"]) == 2
    out = capsys.readouterr().out
    for law in ("counts add up", "micro batch size changes nothing"):
        assert f"broken          {law}" in out
    assert "2 of 14 laws are broken" in out
    assert "held            resuming is bit identical" in out
    assert "loss of step 1 is" in out


@pytest.mark.slow
@pytest.mark.proof
def test_a_new_objective_keeps_every_law(
    plugin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("objective", "lawful")
    assert main(["check", "objective=lawful"]) == 0
    out = capsys.readouterr().out
    assert out.count("  held ") == 12
    assert "times the time of objective/" in out
