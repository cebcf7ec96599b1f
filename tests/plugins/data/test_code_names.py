from etude.plugins.data.code_names import tagged_lines

CODE = """
import json
class Store(dict):
    def load(self, päth: str) -> None:
        ü = json.load(open(päth))
        return ü
"""


def test_names_have_the_tags_of_pythons_parser() -> None:
    found = [
        " ".join(f"{word}/{tag}" if tag != "O" else word for word, tag in zip(*line, strict=True))
        for line in tagged_lines(CODE)
    ]
    assert found == [
        "class Store/B-CLASS ( dict ) :",
        "def load/B-FUNCTION ( self/B-PARAMETER , päth/B-PARAMETER : str ) -> None :",
        "ü = json/B-CALL ./I-CALL load/I-CALL ( open/B-CALL ( päth ) )",
    ]


def test_a_file_that_python_cannot_parse_has_no_lines() -> None:
    assert list(tagged_lines("def (")) == []
