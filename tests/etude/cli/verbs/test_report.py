"""`etude report`: one page on runs, whatever state they are in."""

import random
from pathlib import Path

import pytest
from recorded import report_data, run

from etude.cli.main import main


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
    assert sum("contains no run" in line for line in named) == 1
    assert sum("is not a folder" in line for line in named) == 1
    assert len(named) == 5, "nothing is wrong with half a last line"
    page = out.read_text(encoding="utf-8")
    assert all(line.split(":")[0] in page for line in named)
    names = [one["name"] for one in report_data(page)["runs"]]
    assert names == ["bad", "cut", good.name]


def test_no_run_at_all_is_a_data_error_and_no_folder_a_config_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path), f"out={tmp_path / 'page.html'}"]) == 3
    assert "No run found in" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    assert main(["report"]) == 2
    assert main(["report", str(tmp_path), "ot=page.html"]) == 2
    assert "Did you mean out?" in capsys.readouterr().err


def test_a_watch_writes_again_until_nothing_runs_and_leaves_a_page_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = run(tmp_path / "a", finished=False), tmp_path / "page.html"
    seen: list[object] = []

    def wait(seconds: float) -> None:
        seen.append(report_data(out.read_text(encoding="utf-8"))["watch"])
        if len(seen) == 2:
            (folder / "summary.json").write_text('{"parameters": 1}')
            assert "(0 running)" in out.read_text(encoding="utf-8")

    monkeypatch.setattr("time.sleep", wait)
    assert main(["report", str(folder), f"out={out}", "watch=5"]) == 0
    assert seen == [5, 5, 5]
    page = out.read_text(encoding="utf-8")
    assert report_data(page)["watch"] is None
    assert "finished" in page
    assert main(["report", str(folder), f"out={out}", "watch=0.5"]) == 2


def test_whatever_stands_in_the_records_the_page_is_written(tmp_path: Path) -> None:
    rng, out = random.Random(0), tmp_path / "page.html"
    strange = [b"\xff", b"\x00", b"\\ud800", b"1e999", b"-", b"NaN", b"{", b"&a [*a]", b"9" * 400]
    for k in range(30):
        folder = run(tmp_path / f"runs/{k}", n=10, seed=k % 3, lr=k % 4)
        for file in folder.iterdir():
            held = bytearray(file.read_bytes())
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(held))
                held[at : at + rng.randrange(3)] = rng.choice(strange)
            file.write_bytes(held)
    (tmp_path / "runs/0/steps.jsonl").unlink()
    (tmp_path / "runs/0/steps.jsonl").mkdir()
    values = {"a": ".nan", "b": "2020-13-45", "c": "&a [*a]", "d": "2020-01-01", "e": "!!set {x}"}
    for k, (key, value) in enumerate(values.items(), start=1):
        with (tmp_path / f"runs/{k}/config.yaml").open("a") as file:
            file.write(f"\n  {key}: {value}\n")
    assert main(["report", str(tmp_path / "runs"), f"out={out}"]) == 0
    assert len(report_data(out.read_text(encoding="utf-8"))["runs"]) == 30


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "a")
    assert main(["report", str(folder), f"out={tmp_path / 'a'}"]) == 2
    assert f"out={tmp_path / 'a'} cannot be written" in capsys.readouterr().err


def test_a_watch_may_begin_before_the_first_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert main(["report", str(tmp_path / "later"), f"out={out}", "watch=1"]) == 0
    assert report_data(out.read_text(encoding="utf-8"))["runs"] == []
    assert capsys.readouterr().err.count("is not a folder") == 1, "said once, not at every look"
