import unicodedata

from etude.config.registry import build
from etude.plugins.data.character_names import CharacterNamesConfig, Direction
from etude.records import Prompt


def test_every_name_belongs_to_its_character() -> None:
    records = list(build(CharacterNamesConfig()).records())
    assert len(records) > 25_000
    assert all(unicodedata.lookup(record.answer) == record.prompt for record in records)
    assert Prompt("é", "LATIN SMALL LETTER E WITH ACUTE") in records
    assert not {"一", "가", " "} & {record.prompt for record in records}


def test_with_to_character_prompt_and_answer_are_swapped() -> None:
    records = list(build(CharacterNamesConfig()).records())
    swapped = list(build(CharacterNamesConfig(direction=Direction.to_character)).records())
    assert [Prompt(record.answer, record.prompt) for record in swapped] == records
