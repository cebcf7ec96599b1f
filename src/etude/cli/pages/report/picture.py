"""Takes a screenshot of a page with an installed headless Chromium."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from etude.errors import EtudeError, MissingExtraError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATION = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
WIDTH = 1400
TALLEST = 16_000
"""Maximum height of the screenshot in pixels, a limit of browsers; the rest is cut off."""
TIMEOUT_S = 120
QUIET = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def browser() -> str:
    """Returns the browser program. Raises MissingExtraError if none is installed."""
    found = next((path for name in (*PROGRAMS, APPLICATION) if (path := shutil.which(name))), None)
    if found is None:
        raise MissingExtraError(
            "png= needs Chromium or Chrome to take a screenshot, and neither is installed.\n"
            "  Debian: apt-get install chromium. macOS: brew install --cask chromium.\n"
            "  Without png=, only the page is written; any browser can open and print it."
        )
    return found


def take(page: Path, picture: Path) -> None:
    """Writes a full-height screenshot of a page. Raises EtudeError if the browser fails."""
    program = browser()
    with tempfile.TemporaryDirectory() as place:
        first = _run(program, place, page, "--dump-dom", f"--window-size={WIDTH},1000")
        drawn = re.search(r'data-drawn="(\d+)"', first)
        if drawn is None:
            raise EtudeError(f"{program} did not draw {page}; open it in a browser to see why.")
        height = min(int(drawn[1]), TALLEST)
        screenshot = Path(place) / "picture.png"
        _run(program, place, page, f"--screenshot={screenshot}", f"--window-size={WIDTH},{height}")
        if not screenshot.exists():
            raise EtudeError(f"{program} wrote no screenshot of {page}.")
        try:
            picture.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(screenshot, picture)
        except OSError as error:
            raise EtudeError(f"png={picture} cannot be written: {error.strerror}.") from error


def _run(program: str, place: str, page: Path, *options: str) -> str:
    """Runs the browser on the page with a temporary profile; returns its output."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    command = [program, *QUIET, *sandbox, f"--user-data-dir={place}/profile", *options]
    try:
        ended = subprocess.run(
            [*command, page.resolve().as_uri()],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EtudeError(f"{program} failed on {page}: {error}") from error
    return ended.stdout
