"""Run folders written without training, and the data inside a report's page."""

import json
from pathlib import Path
from typing import Any


def run(folder: Path, n: int = 30, seed: int = 0, lr: float = 0.1, finished: bool = True) -> Path:
    """A run whose loss is a power law of the step; it validates every tenth step."""
    folder.mkdir(parents=True)
    lines: list[dict[str, object]] = []
    for step in range(1, n + 1):
        loss = 2 + lr + seed / 100 + step**-0.5
        line: dict[str, object] = {"step": step, "loss": loss, "tokens": step * 100}
        line |= {"lr": lr, "samples": "abc", "seconds": step / 10}
        lines.append(line | ({"val/loss": loss + 0.1} if step % 10 == 0 else {}))
    write_lines(folder / "steps.jsonl", lines)
    values = f"values:\n  optimizer:\n    lr: {lr}\n  seed: {seed}\n  run: {folder}\n"
    plugins = "plugins:\n  optimizer:\n    address: optimizer/adamw\n    sha256: 00\n"
    (folder / "config.yaml").write_text(plugins + values)
    if finished:
        (folder / "summary.json").write_text(json.dumps({"parameters": 1000}))
    return folder


def write_lines(file: Path, lines: list[dict[str, Any]]) -> None:
    """Writes a JSON Lines file."""
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def report_data(page: str) -> dict[str, Any]:
    """The JSON data that the page's script draws."""
    rest = page.partition('<script type="application/json" id="data">')[2]
    return json.loads(rest.partition("</script>")[0])
