"""What is written in docs/ and in the README of plugins is what the plugins say today."""

from pathlib import Path

from etude.cli.pages.catalogue import BEGIN, CATALOGUE, END, README, catalogue, table, with_table
from etude.config.plugin_files import addresses

ROOT = Path(__file__).resolve().parents[4]
STALE = "stale: run `make docs`"


def test_the_catalogue_is_what_the_plugins_say() -> None:
    assert (ROOT / CATALOGUE).read_text(encoding="utf-8") == catalogue(), STALE


def test_the_table_of_the_readme_is_what_the_plugins_declare() -> None:
    readme = (ROOT / README).read_text(encoding="utf-8")
    assert readme == with_table(readme), STALE


def test_every_plugin_is_in_the_catalogue_with_its_first_line() -> None:
    said = catalogue()
    for address in addresses():
        group, _, name = address.rpartition("/")
        assert f"### {group}={name}\n" in said
        assert f"(../plugins/{address}.py)" in said


def test_the_table_is_put_between_its_marks_and_nowhere_else() -> None:
    written = with_table(f"before\n{BEGIN}\nold\n{END}\nafter")
    assert written == f"before\n{BEGIN}\n{table()}\n{END}\nafter"


def test_the_table_says_yes_where_needs_are_provided() -> None:
    rows = {line.split("|")[1].strip(): line for line in table().splitlines()}
    columns = [title.strip() for title in rows["objective"].split("|")]
    for objective, stack in [("clm", "decoder_only"), ("mlm", "encoder_only")]:
        cells = rows[objective].split("|")
        yes = [title for title, cell in zip(columns, cells, strict=True) if cell.strip() == "yes"]
        assert [title.partition(" ")[0] for title in yes] == [stack]
