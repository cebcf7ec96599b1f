import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.config.capabilities import max_positions_of
from etude.config.registry import build
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.rl.judge import Comparison
from etude.training.run import start

QUESTION = "{prompt} {first} {second}"
PAIRS = [Comparison("a", "bc", "d"), Comparison("e", "f", "gh"), Comparison("a", "d", "bc")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a byte-level decoder, trained for two steps."""
    folder = tmp_path_factory.mktemp("judge")
    config = tiny.experiment("clm", folder, trainer={"max_steps": 2})
    start(replace(config, run=str(folder / "run")), "tiny", [])
    return folder / "run"


def judge(run: Path, **values: Any) -> Any:  # the plugin's class
    return build(tiny.part("judge", "run", run=str(run), question=QUESTION, **values))


def test_the_label_is_the_probability_of_the_first_letter_averaged_over_both_orders(
    run: Path,
) -> None:
    model = read_model(run)
    network = model.network().eval()
    vocab, shares = model.tokenizer.vocab, []
    a, b = (int(model.tokenizer.encode(letter)[0]) for letter in "AB")
    for text in ("a bc d", "a d bc"):
        ids = [vocab.bos, *model.tokenizer.encode(text).tolist()]
        with torch.no_grad():
            logits = network(
                network.prompt([ids]), torch.tensor([[False] * (len(ids) - 1) + [True]])
            )
        shares.append(float(logits[0, [a, b]].softmax(0)[0]))
    found = judge(run)(PAIRS)
    assert found[0] == pytest.approx((shares[0] + 1 - shares[1]) / 2, abs=1e-6)
    assert found[0] + found[2] == pytest.approx(1, abs=1e-6)
    assert judge(run, batch=1)(PAIRS) == pytest.approx(found, abs=1e-5)


def test_a_question_that_does_not_fit_has_no_verdict(run: Path) -> None:
    room = max_positions_of(read_model(run).architecture)
    assert room is not None
    verdicts = judge(run)([PAIRS[0], Comparison("a" * room, "b", "c")])
    assert not math.isnan(verdicts[0])
    assert math.isnan(verdicts[1])


def test_a_model_that_cannot_generate_cannot_judge(tmp_path: Path) -> None:
    config = tiny.experiment("mlm", tmp_path, trainer={"max_steps": 1})
    start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    with pytest.raises(ConfigError, match="cannot generate text, so it cannot answer"):
        judge(tmp_path / "run")
    with pytest.raises(ValueError, match="batch must be at least 1"):
        judge(tmp_path, batch=0)
