"""docs/plugins.md and the table of the README are up to date."""

from pathlib import Path

from etude.cli.pages.catalogue import BEGIN, CATALOGUE, END, README, catalogue, table, with_table
from etude.config.plugin_files import addresses

ROOT = Path(__file__).resolve().parents[4]
STALE = "stale: run `make docs`"


def test_the_catalogue_is_up_to_date() -> None:
    assert (ROOT / CATALOGUE).read_text(encoding="utf-8") == catalogue(), STALE


def test_the_table_of_the_readme_is_up_to_date() -> None:
    readme = (ROOT / README).read_text(encoding="utf-8")
    assert readme == with_table(readme), STALE


def test_the_catalogue_contains_every_plugin_with_its_summary() -> None:
    text = catalogue()
    for address in addresses():
        group, _, name = address.rpartition("/")
        assert f"### {group}={name}\n" in text
        assert f"(../plugins/{address}.py)" in text


def test_only_the_text_between_the_marks_is_replaced() -> None:
    readme = with_table(f"before\n{BEGIN}\nold\n{END}\nafter")
    assert readme == f"before\n{BEGIN}\n{table()}\n{END}\nafter"


def test_the_table_says_yes_if_the_architecture_provides_every_need() -> None:
    rows = {line.split("|")[1].strip(): line for line in table().splitlines()}
    columns = [title.strip() for title in rows["objective"].split("|")]
    for objective, stack in [("clm", "decoder_only"), ("mlm", "encoder_only")]:
        cells = rows[objective].split("|")
        yes = [title for title, cell in zip(columns, cells, strict=True) if cell.strip() == "yes"]
        assert [title.partition(" ")[0] for title in yes] == [stack]
