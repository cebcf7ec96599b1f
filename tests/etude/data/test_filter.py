from etude.data.filter import SPAN_CHARS, Edit, document_of
from etude.records import Pair


def test_an_edit_holds_the_span_from_the_first_to_the_last_difference() -> None:
    assert Edit.of_text("r", "the cafÃ© is open", "the café is open") == Edit("r", "Ã©", "é")
    assert Edit.of_text("r", "ab", "abb") == Edit("r", "b", "bb")
    assert Edit.of_text("r", "b", "ab") == Edit("r", "b", "ab")
    assert Edit.of_text("r", "aaaa", "aaa", number=4) == Edit("r", "a", "", 4)
    assert len(Edit.of_text("r", "x" * 900, "y").before) == SPAN_CHARS


def test_a_document_has_all_texts_of_a_record() -> None:
    assert document_of(Pair("a", "b")) == "a\n\nb"
