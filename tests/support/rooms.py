"""The rooms of `src/etude`, and the list of their modules in docs/architecture.md.

`make docs` runs this file, which writes the list; a test fails when it is out of date.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "src/etude"
PAGE = ROOT / "docs/architecture.md"
ROOMS = (
    "files", "config", "data", "network", "formats", "objective", "rl", "evaluation",
    "training",    "experiments", "planning", "laws", "cli",
)  # fmt: skip
"""The folders of `src/etude`, lowest first: a room imports only rooms before it."""
FACES = (
    "files", "config", "data", "network", "formats", "objective", "rl", "evaluation", "training",
)  # fmt: skip
"""Rooms that plugins use. Their `__init__.py` re-exports what a plugin may import."""
PUBLIC = {"etude", *(f"etude.{room}" for room in FACES)}
"""The modules of étude that a plugin may import."""
SCAFFOLD = CORE / "cli/scaffold"
"""Templates that `etude new` copies; they are not modules."""
BEGIN = "<!-- modules: written by make docs -->"
END = "<!-- end of modules -->"


def core_files() -> list[Path]:
    """Every module of the core, sorted; templates of `etude new` are not modules."""
    return sorted(file for file in CORE.rglob("*.py") if not file.is_relative_to(SCAFFOLD))


def with_modules(page: str) -> str:
    """The page with an up-to-date list between its two marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    assert after, f"{PAGE.name} lacks the marks {BEGIN} and {END}"
    return f"{before}{BEGIN}\n\n{module_list()}\n\n{END}{after}"


def module_list() -> str:
    """For each room, its modules with the first sentence of each one's docstring."""
    parts = ["### Beside the rooms", _lines(CORE)]
    for room in ROOMS:
        parts += [f"### {room}/", _lines(CORE / room)]
    return "\n\n".join(parts)


def _lines(folder: Path) -> str:
    return "\n".join(_entries(folder))


def _entries(folder: Path) -> Iterator[str]:
    """One line for each module; `__init__.py` and `__main__.py` hold no code of their own."""
    outside = folder == CORE
    for file in core_files():
        inside = file.parent == CORE if outside else file.is_relative_to(folder)
        if inside and not file.name.startswith("__"):
            name = file.relative_to(folder).with_suffix("").as_posix()
            place = file.relative_to(ROOT).as_posix()
            yield f"- [`{name}`](../{place}): {first_sentence(file)}"


def first_sentence(file: Path) -> str:
    """The first sentence of a module's docstring."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


if __name__ == "__main__":
    PAGE.write_text(with_modules(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
