"""Fenced code blocks of Markdown pages."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/adding-a-plugin.md"
README = ROOT / "README.md"
DATA = ROOT / "docs/data.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    matches = FENCED.finditer(page.read_text(encoding="utf-8"))
    return [match[2] for match in matches if match[1] == language]
