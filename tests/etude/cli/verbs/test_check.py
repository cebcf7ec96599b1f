"""`etude check`: a report card, law by law, and an exit code that says if any is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

import etude.plugins
from etude.cli.main import main
from etude.cli.verbs.check import TRIED
from etude.cli.verbs.new import of_plugin


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes what `etude new` writes, with one line of it changed."""

    def write(group: str, name: str, was: str = "", now: str = "") -> None:
        for file, text in of_plugin(group, name).items():
            assert was in text or "tests" in file.parts
            place = tmp_path / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.replace(was, now) if was else text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())

    return write


def test_the_whole_bench_is_shown_with_the_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "reward=[format,length]", "reward.length.target=9"]) == 0
    said = capsys.readouterr().out
    assert "adversarial answer '<think></think>4': paid 0, a right one is paid 1" in said
    assert "17 answers, 0% false positives, 0% false negatives" in said
    assert said.count("every law holds") == 2


@pytest.mark.slow
def test_a_verifier_that_misjudges_breaks_a_law_and_an_opinion_has_no_bench(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "reward=regex", "reward.regex.pattern=^[0-9]*$"]) == 2
    said = capsys.readouterr().out
    assert "MISJUDGED malformed answer ''" in said
    assert "1 of 3 laws are broken" in said
    unasked = "reward.http.url=http://localhost:1"
    assert main(["check", "reward=http", unasked]) == 2  # nobody answers there
    said = capsys.readouterr().out
    assert "not applicable  its bench is judged right" in said
    assert "broken          every answer gets one score" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "none is chosen that has laws"),
        ("trainer=none", "none is chosen that has laws"),
        ("strategy=fsdp", "It can in 32, bf16-mixed, bf16-true."),
        ("objective=nothing", "objective=nothing does not exist."),
        ("objective=mlm", "objective=mlm cannot train architecture=llama."),
        ("data=text data.pathh=a", "Did you mean data.path?"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *given.split()]) == 2
    assert said in capsys.readouterr().err


def test_every_group_that_is_tried_has_laws() -> None:
    from etude.laws.suites import SUITES

    assert set(SUITES) == set(TRIED)


@pytest.mark.parametrize(
    "chosen",
    [
        "schedule=cosine", "decoding=sample", "data=sorting", "template=chatml",
        "judge=rule judge.margin=0.5 reward=numeric",
    ],
)  # fmt: skip
def test_what_ships_keeps_every_law(chosen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *chosen.split()]) == 0
    said = capsys.readouterr().out
    assert said.endswith("every law holds\n")
    assert "broken" not in said


@pytest.mark.slow
@pytest.mark.proof
def test_an_objective_whose_loss_is_a_mean_is_found_out(
    plugin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("objective", "meaner", "Loss(losses.sum(),", "Loss(losses.mean(),")
    assert main(["check", "objective=meaner"]) == 2
    said = capsys.readouterr().out
    for law in ("counts add up", "cuts change nothing"):
        assert f"broken          {law}" in said
    assert "2 of 10 laws are broken" in said
    assert "held            a resumed run is the same to the bit" in said
    assert "loss of step 1 is" in said


@pytest.mark.slow
@pytest.mark.proof
def test_a_new_objective_keeps_every_law(
    plugin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin("objective", "lawful")
    assert main(["check", "objective=lawful"]) == 0
    said = capsys.readouterr().out
    assert said.count("  held ") == 10
    assert "of the time of objective/" in said
