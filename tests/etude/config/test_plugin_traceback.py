"""What a plugin raises fits on one screen: reason, right name, file, line and source."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.cli.verbs.new import KIT, rename_template
from etude.config.plugin_traceback import VARIABLE
from etude.config.registry import load
from etude.errors import PAGE, ConfigError

Write = Callable[[str, str], Path]
SMALL = (
    "architecture.dim=16", "architecture.n_layers=1", "architecture.n_heads=2", "tokenizer=byte",
    "trainer.max_steps=1", "trainer.global_batch=4", "trainer.val_samples=1", "data=text",
    "data.seq_len=32", "trainer.accelerator=cpu", "logger=[]",
)  # fmt: skip
IMPORTS = {
    "module": ("import numpy as np", "import numpyy as np", "Did you mean numpy?", 10),
    "third_name": ("import Tensor\n", "import Tensr\n", "cannot import name 'Tensr'", 12),
    "undefined": ("-> TokenRow:", "-> TokenRo:", "is not defined\n  Did you mean TokenRow?", 38),
    "raises": ("@dataclass\n", 'raise OSError("no model")\n@dataclass\n', "OSError: no model", 20),
    "order": ("float = 2.0", "float = 2.0\n    k: int", "non-default argument 'k'", 20),
}  # fmt: skip
RUNS = {
    "own_knob": ("self.config.gamma", "self.config.gama", "Did you mean gamma?"),
    "in_check": ("require(self.gamma", "require(self.gama", "Did you mean gamma?"),
    "metric_axis": (".detach().sum()}", ".detach()}", "in loss\n    return Loss("),
    "metric_number": ("-log_prob.detach().sum()}", "1.0}", "in loss\n    return Loss("),
    "no_sum": ("losses.sum()", "losses", "in loss\n    return Loss("),
    "no_loss": ("return Loss(losses", "return (losses", "etude check objective=no_loss"),
    "no_count": ("return float(", "float(", "etude check objective=no_count"),
    "no_method": ("def collate(", "def colate(", "NoMethod lacks collate.\n  Did you mean colate?"),
    "two_arguments": (
        "    def example(",
        "    def __init__(self, config, network):\n        pass\n\n    def example(",
        "takes other arguments than étude gives it, which are (TwoArgumentsConfig, DecoderOnly,",
    ),
    "no_super": (
        "    def example(",
        "    def __init__(self, config, network, tools):\n        self.x = 1\n\n    def example(",
        "etude check objective=no_super",
    ),
    "no_contract": ("(Objective[SketchConfig, TextBatch])", "", "takes other arguments than étude"),
    "default": ("float = 2.0", "float = 'two'", ":22: gamma: float = 'two': Value 'two'"),
    "any_type": ("float = 2.0", "object = 2.0", ":22: gamma: object = 2.0: Unexpected type"),
}  # fmt: skip


def write(more_plugins: Write, name: str, before: str, after: str) -> Path:
    text = (KIT / "plugins/objective/sketch.py").read_text(encoding="utf-8")
    assert before in text
    return more_plugins(f"objective/{name}", rename_template(text.replace(before, after, 1), name))


@pytest.mark.parametrize("slip", IMPORTS)
def test_a_file_that_cannot_be_imported_is_named_with_the_line(
    more_plugins: Write, slip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, message, line = IMPORTS[slip]
    file = write(more_plugins, f"import_{slip}", before, after)
    with pytest.raises(ConfigError) as refusal:
        load(f"objective/import_{slip}")
    assert message in str(refusal.value)
    assert f"{file}:{line}" in str(refusal.value)
    assert main(["list", "objective"]) == 0
    assert f"! objective/import_{slip} cannot be imported: " in capsys.readouterr().out
    assert main(["show", f"objective=import_{slip}"]) == 2
    assert f"{file}:{line}" in capsys.readouterr().err


@pytest.mark.parametrize("slip", RUNS)
def test_what_a_plugin_raises_while_it_is_used_fits_on_one_screen(
    more_plugins: Write, tmp_path: Path, slip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, message = RUNS[slip]
    file = write(more_plugins, slip, before, after)
    chosen = (f"objective={slip}", f"data.path={tiny.write_text(tmp_path)}", "data.document=line")
    assert main(["train", *SMALL, *chosen, f"run={tmp_path}/run"]) in (1, 2)
    page = capsys.readouterr().err
    assert message in page
    assert str(file) in page
    assert len(page.splitlines()) <= PAGE, page


def test_the_whole_traceback_is_shown_on_request(
    more_plugins: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(more_plugins, "whole", *RUNS["in_check"][:2])
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(AttributeError, match="gama"):
        main(["train", *SMALL, "objective=whole", f"run={tmp_path}/run"])
