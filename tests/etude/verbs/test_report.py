"""`etude report`: one page on runs, whatever state they are in."""

import json
from pathlib import Path

import pytest

from etude.cli import main


def run(folder: Path, n: int = 30, seed: int = 0, lr: float = 0.1, finished: bool = True) -> Path:
    """A run folder as training leaves one, with a loss that falls as a power of the tokens."""
    folder.mkdir(parents=True)
    lines: list[dict[str, object]] = []
    for step in range(1, n + 1):
        loss = 2 + lr + seed / 100 + step**-0.5
        line: dict[str, object] = {"step": step, "loss": loss, "tokens": step * 100}
        line |= {"lr": lr, "samples": "abc", "seconds": step / 10}
        lines.append(line | ({"val/loss": loss + 0.1} if step % 10 == 0 else {}))
    (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = f"values:\n  optimizer:\n    lr: {lr}\n  seed: {seed}\n  run: {folder}\n"
    chosen = "plugins:\n  optimizer:\n    address: optimizer/adamw\n    sha256: 00\n"
    (folder / "config.yaml").write_text(chosen + values)
    if finished:
        (folder / "summary.json").write_text(json.dumps({"parameters": 1000, "metrics": lines[-1]}))
    return folder


def data_of(file: Path) -> dict[str, object]:
    """What the page's script draws from."""
    text = file.read_text(encoding="utf-8")
    held = text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    return json.loads(held)


def test_a_damaged_and_a_foreign_folder_are_named_and_the_others_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run(tmp_path / "runs/good")
    cut = run(tmp_path / "runs/cut", finished=False)
    with (cut / "steps.jsonl").open("a") as file:
        file.write('{"step": 31, "lo')  # being written
    bad = run(tmp_path / "runs/bad")
    (bad / "config.yaml").write_text("plugins: [")
    (bad / "steps.jsonl").write_text('{"step": 1, "loss": NaN}\nnonsense\n[]\n{"step": 2}\n')
    (bad / "summary.json").write_bytes(b"\xff\x00{")
    (tmp_path / "foreign").mkdir()
    out = tmp_path / "page.html"
    given = [str(tmp_path / "runs"), str(tmp_path / "foreign"), str(tmp_path / "absent")]
    assert main(["report", *given, f"out={out}"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == str(out)
    named = told.err.splitlines()
    for start in ("bad: steps.jsonl: 2 lines", "bad: config.yaml", "bad: summary.json"):
        assert sum(line.startswith(start) for line in named) == 1
    assert sum("holds no run" in line for line in named) == 1
    assert sum("is no folder" in line for line in named) == 1
    assert len(named) == 5, "nothing is wrong with half a last line"
    page = out.read_text(encoding="utf-8")
    assert all(line.split(":")[0] in page for line in named)
    names = [one["name"] for one in data_of(out)["runs"]]  # type: ignore[index]
    assert names == ["bad", "cut", good.name]


def test_no_run_at_all_is_a_data_error_and_no_folder_a_config_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path), f"out={tmp_path / 'page.html'}"]) == 3
    assert "There is no run in" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    assert main(["report"]) == 2
    assert main(["report", str(tmp_path), "ot=page.html"]) == 2
    assert "Did you mean out?" in capsys.readouterr().err
