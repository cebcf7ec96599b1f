"""The page of a report in a real browser."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from recorded import run

from etude.cli.pages.report.picture import APPLICATION, PROGRAMS, browser
from etude.cli.verbs.report import main
from etude.errors import MissingExtraError

HAS_BROWSER = any(shutil.which(name) for name in (*PROGRAMS, APPLICATION))


def test_a_missing_browser_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt-get install chromium"):
        browser()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_BROWSER, reason="no Chromium is installed")
def test_a_browser_draws_every_chart_and_takes_a_screenshot(tmp_path: Path) -> None:
    for seed in (0, 1):
        for lr in (0.1, 0.2):
            run(tmp_path / f"runs/{seed}-{lr}", n=50, seed=seed, lr=lr)
    out, png = tmp_path / "page.html", tmp_path / "page.png"
    assert main([str(tmp_path / "runs"), f"out={out}", f"png={png}"]) == 0
    head = png.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", head[16:24])
    assert width == 1400
    assert height > 1500
    command = [
        *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom"),
    ]
    asked = subprocess.run([*command, out.as_uri()], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in asked.stderr, "the page runs without an error"
    drawn = {name: re.findall(r"<path", part) for name, part in _figures(asked.stdout).items()}
    assert {"val/loss", "loss", "lr", "optimizer.lr"} <= drawn.keys()
    assert len(drawn["val/loss"]) == 4, "a line a run"
    assert len(drawn["optimizer.lr"]) == 1, "the mean; runs are dots"


def _figures(dom: str) -> dict[str, str]:
    """The content of each figure, by its title."""
    found = re.findall(r"<figure[^>]*>(.*?)</figure>", dom, re.DOTALL)
    return {re.search(r"<b>(.*?)</b>", figure)[1]: figure for figure in found}  # type: ignore[index]
