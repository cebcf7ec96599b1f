"""Prepares the data of an experiment and shows its data card; takes the arguments of train.

    etude data data=text data.path=notes.txt
    etude data run=outputs/base
    etude data data=jsonl data.path=raw.jsonl filter=[exact,minhash] out=clean

Shows records, bad rows, tokens and tokenizer statistics; no network is built. `out` writes what the
filters keep to a new folder: `cleaned.jsonl`, which data=jsonl reads, `audit.jsonl` with the reason
for every dropped record and every edit, and the data card as `card.md` and `card.html`.
"""

import json
import shutil
from pathlib import Path

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError
from etude.training.experiment import read_experiment

VERB = "data"
OUT = "out="
CLEANED = "cleaned.jsonl"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    folders = [Path(item.removeprefix(OUT)) for item in arguments if item.startswith(OUT)]
    line = prepare([item for item in arguments if not item.startswith(OUT)])
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        config, run = read_experiment(composed, line.overrides, checked=False)
        for part in (config.data, *config.filter.values()):
            check_extras(part)
        for folder in folders:
            _refuse(config, folder)
        from etude.training.run_corpus import corpus_of

        card = str(corpus_of(config, run).card)
        print(card)
        for folder in folders:
            _write(config, folder, card)
    return 0


def _refuse(config: ExperimentConfig, folder: Path) -> None:
    """Raises ConfigError if there is nothing to write, or something in the way."""
    if not config.filter:
        raise ConfigError(
            f"out={folder} has no effect: no filter is chosen, so the data stays as it is.\n"
            "  Choose filters, such as filter=[exact,minhash]."
        )
    if folder.exists():
        raise ConfigError(f"out={folder} already exists.\n  Give a folder that does not exist yet.")


def _write(config: ExperimentConfig, folder: Path, card: str) -> None:
    """Writes the cleaned data set, the audit and the card."""
    from etude.cli.pages.cleaning.card import blocks_of, html, markdown
    from etude.cli.pages.cleaning.findings import findings_of
    from etude.data.corpus import read
    from etude.data.filtering import AUDIT
    from etude.data.record_file import read_records
    from etude.data.record_rows import row_of
    from etude.files.atomic import write_folder

    records = read(config.data, config.filter)
    assert records.filters is not None, "a filter is chosen"
    blocks = blocks_of(card, records.filters, findings_of(records))

    def fill(inside: Path) -> None:
        with (inside / CLEANED).open("w", encoding="utf-8") as file:
            for record in read_records(records.folder, records.kind):
                file.write(json.dumps(row_of(record), ensure_ascii=False) + "\n")
        shutil.copyfile(records.folder / AUDIT, inside / AUDIT)
        (inside / "card.md").write_text(markdown(blocks), encoding="utf-8")
        (inside / "card.html").write_text(html(blocks), encoding="utf-8")

    try:
        write_folder(folder.absolute(), fill)
    except OSError as error:
        raise ConfigError(f"out={folder} cannot be written: {error.strerror}.") from error
    print(folder.absolute())
