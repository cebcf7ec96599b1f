"""`etude merge` writes an adapter run as a plain model folder, or says why it cannot."""

from pathlib import Path

import adapters
import chains
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from etude.cli.main import main
from etude.rl.reward_model import read_reward_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")


def merge(run: Path, to: Path) -> int:
    return main(["merge", f"run={run}", f"to={to}"])


@pytest.mark.parametrize("kind", adapters.MERGING)
def test_a_merged_run_is_a_model_of_transformers_with_the_same_logits(
    kind: str, tmp_path: Path
) -> None:
    run = chains.run(tmp_path, "run", "sft", chains.llama(tmp_path / "base"), kind)
    assert merge(run, tmp_path / "merged") == 0
    theirs, problems = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
        tmp_path / "merged", output_loading_info=True
    )
    assert not any(problems.values()), problems
    with torch.no_grad():
        found = theirs.eval()(chains.IDS).logits
    torch.testing.assert_close(found, chains.logits(run), rtol=0, atol=1e-5)
    assert torch.equal(chains.logits(tmp_path / "merged"), chains.logits(run))
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template


def test_a_run_on_a_run_is_merged_with_both(tmp_path: Path) -> None:
    first = chains.run(tmp_path, "first", "sft", chains.llama(tmp_path / "base"), "lora")
    run = chains.run(tmp_path, "second", "dpo", first, "ia3")
    assert merge(run, tmp_path / "merged") == 0
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        found = theirs(chains.IDS).logits
    torch.testing.assert_close(found, chains.logits(run), rtol=0, atol=1e-5)


def test_a_merged_reward_model_has_the_same_scores_in_transformers(tmp_path: Path) -> None:
    run = chains.run(tmp_path, "run", "reward", chains.llama(tmp_path / "base"), "lora")
    assert merge(run, tmp_path / "merged") == 0
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    encoded = AutoTokenizer.from_pretrained(tmp_path / "merged")("why", "so", return_tensors="pt")
    with torch.no_grad():
        found = theirs(**encoded).logits[:, 0]
    wanted = read_reward_model(run)(["why"], ["so"])
    assert wanted != 0
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["prefix", "prompt_tuning", "houlsby"])
def test_an_adapter_that_adds_layers_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = chains.run(tmp_path, "run", "sft", chains.llama(tmp_path / "base"), kind)
    assert merge(run, tmp_path / "merged") == 2
    assert f"adapter={adapters.KINDS[kind][0]} adds to the network" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_a_run_without_an_adapter_is_refused_with_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = chains.llama(tmp_path / "base")
    assert merge(base, tmp_path / "merged") == 2
    assert f"has no adapter to merge.\n  Its weights are in {base}" in capsys.readouterr().err


def test_an_existing_folder_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(tmp_path / "run", tmp_path) == 2
    assert f"to={tmp_path} already exists" in capsys.readouterr().err
    assert main(["merge", f"run={tmp_path}"]) == 2
    assert "needs a folder to write: to=<folder>" in capsys.readouterr().err


def test_a_network_without_a_family_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.trained_run(tmp_path)
    run = chains.run(tmp_path, "run", "clm", base, "lora")
    assert merge(run, tmp_path / "merged") == 2
    assert "transformers, which has no equivalent of this network" in capsys.readouterr().err
