from typing import Any

import pytest
import tiny
from chinese import PROSE

from etude.config.registry import build
from etude.data.filter import Change, Drop, Edit
from etude.plugins.filter.unicode import Form
from etude.records import Text


def unicode(**knobs: Any) -> Any:  # the plugin's own class
    return build(tiny.part("filter", "unicode", **knobs))


def repaired(text: str, **knobs: Any) -> str:
    return unicode(**knobs).repaired(text)[0]


def test_text_that_was_decoded_with_a_wrong_encoding_is_repaired() -> None:
    assert repaired("The cafÃ© opens; youâ€™re welcome.") == "The café opens; you’re welcome."
    wrong = "图书馆收藏了这份期刊。".encode().decode("latin-1")
    assert repaired(f"A line.\n{wrong}\n") == "A line.\n图书馆收藏了这份期刊。\n"


def test_each_kind_of_damage_is_a_rule_with_its_lines_and_the_first_of_them() -> None:
    decision = unicode().decide(Text("a cafÃ©\nb cafÃ© \x07\ne\u0301 ok\r\nplain\n"))
    assert isinstance(decision, Change)
    assert decision.record == Text("a café\nb café \né ok\nplain\n")
    assert [(edit.rule, edit.number) for edit in decision.edits] == [
        ("mojibake", 2),
        ("control characters", 1),
        ("line breaks", 1),
        ("normalization", 1),
    ]
    assert decision.edits[0] == Edit("mojibake", "Ã©", "é", 2)


def test_undamaged_text_is_kept_as_it_is() -> None:
    for text in (PROSE, "Plain.\n\tASCII 100% ~", "“Curly” – don’t", "ＡＢＣ，！", "e = mc² ½"):
        assert unicode().decide(Text(text)) is None


def test_knobs_turn_repairs_on_and_off() -> None:
    assert repaired("cafÃ©", mojibake=False) == "cafÃ©"
    assert repaired("a &amp; b") == "a & b"
    assert repaired("<b>a &amp; b</b>") == "<b>a &amp; b</b>"
    assert repaired("<b>\na &amp; b") == "<b>\na &amp; b"
    assert repaired("a &amp; b", html=False) == "a &amp; b"
    assert repaired("“x”，ＡＢ", quotes=True) == '"x"，ＡＢ'
    assert repaired("x，ＡＢ", width=True) == "x,AB"
    assert repaired("x² ，", form=Form.nfkc) == "x2 ,"
    assert repaired("e\u0301", form=Form.none) == "e\u0301"


def test_a_text_of_control_characters_alone_is_dropped() -> None:
    assert unicode().decide(Text("\x07\x08 ")) == Drop("no text left", 0, 1)


@pytest.mark.slow
def test_texts_are_those_of_ftfy_on_real_documents_with_damage() -> None:
    import english
    from ftfy import fix_text

    made = unicode()
    changed = 0
    for document in english.documents()[:300]:
        damaged = document.encode().decode("windows-1252", errors="replace") + "\r\n&lt; é \x1b[1m"
        html = "auto" if "<" not in damaged else False
        expected = fix_text(
            damaged, unescape_html=html, uncurl_quotes=False, fix_character_width=False
        )
        assert made.repaired(damaged)[0] == expected
        changed += damaged != expected
    assert changed == 300
