import unicodedata

from etude.config.registry import build
from etude.plugins.data.character_names import CharacterNamesConfig, Direction
from etude.records import Prompt


def test_every_name_is_that_of_its_character() -> None:
    records = list(build(CharacterNamesConfig()).records())
    assert len(records) > 25_000
    assert all(unicodedata.lookup(record.answer) == record.prompt for record in records)
    assert Prompt("é", "LATIN SMALL LETTER E WITH ACUTE") in records
    assert not {"一", "가", " "} & {record.prompt for record in records}


def test_the_other_way_round_the_name_is_given() -> None:
    records = list(build(CharacterNamesConfig()).records())
    turned = list(build(CharacterNamesConfig(direction=Direction.to_character)).records())
    assert [Prompt(record.answer, record.prompt) for record in turned] == records
