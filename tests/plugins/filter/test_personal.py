from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config import compatibility
from etude.config.registry import build
from etude.data.filter import Change, Edit
from etude.errors import MissingExtraError
from etude.plugins.filter.personal import replaced
from etude.records import Message, Preference, Text

PLANTED = {
    "<EMAIL>": (
        *("jane.roe@example.org", "j+news@mail.example.co.uk", "o_neil-99@uni-ulm.de"),
        *("18812345678@163.com", "ANNA@EXAMPLE.COM", "zhang.wei@sub.example.com.cn"),
        *("jane [at] example [dot] org", "张伟@例子.公司"),  # not found
    ),
    "<PHONE>": (
        *("+44 20 7946 0958", "+49 30 901820", "+86 138 1234 5678", "13812345678"),
        *("(650) 253-0000", "650-253-0000", "650.253.0000", "1-650-253-0000", "+16502530000"),
        *("010-62782051", "138-1234-5678", "+33 1 42 34 56 78", "+91 98765 43210"),
        "020 7946 0958",  # of London, and also a number of Guangzhou
        "030 901820",  # of Berlin: not found
    ),
    "<IP>": (
        *("81.2.69.142", "93.184.216.34", "2a00:1450:4001:81b::200e", "2606:4700:4700::1111"),
        *("218.30.103.19", "4.14.77.91"),
    ),
    "<IBAN>": (
        *("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NL91 ABNA 0417 1643 00"),
        *("FR14 2004 1010 0505 0001 3M02 606", "ES91 2100 0418 4502 0005 1332"),
    ),
    "<CARD>": (
        *("4111111111111111", "5555 5555 5555 4444", "3782 822463 10005", "3530111333300000"),
        *("6011-1111-1111-1117", "6200000000000005", "2223003122003222"),
    ),
    "<NATIONAL_ID>": (
        *("390.533.447-05", "11010519491231002X", "440308199901101512", "36 574 261 809"),
        *("54362315K", "X-2482300W", "131052-308T", "2 95 10 99 126 111 93"),
        *("2341 2341 2346", "RCCMNL83S18D969H", "44051401359", "536-90-4399"),
        *("912 345 678", "760101-1234567"),  # of other countries: not found
    ),
}
NEAR = (
    # versions and dates
    *("1.2.3.4", "version 10.20.30.40", "v2.10.13.14", "版本 12.0.18.3", "3.11.7", "2024-01-15"),
    *("15/01/2024", "2024.01.15", "20240115", "2024-01-15 10:30:00", "12:30:45", "1700000000"),
    # books, articles, products and bytes
    *("978-3-16-148410-0", "9783161484100", "0-306-40615-2", "0306406152", "ISSN 2049-3630"),
    *("10.1038/s41586-020-2649-2", "arXiv:2112.11446", "4006381333931", "order 6502530000"),
    *(
        "d41d8cd98f00b204e9800998ecf8427e",
        "0x7fff5fbff8c0",
        "3f786850e387550fdab836ed7e6dc881de23001b",
    ),
    *("550e8400-e29b-41d4-a716-446655440000", "1234567890123456789012", "3.14159265358979"),
    # private, reserved and impossible addresses
    *("192.168.0.17", "127.0.0.1", "10.0.0.1", "192.0.2.1", "300.1.2.3", "::1", "std::vector"),
    *("2001:db8::1", "fe80::1"),
    # wrong check digits
    *("4111111111111112", "GB82 WEST 1234 5698 7654 33", "11010519491231002Y", "54362315A"),
    *("390.533.447-06", "000-12-3456", "1234 5678 9012 3456"),
    # code
    *("@dataclass", "icon@2x.png", "react@18.2.0", "a@b", "x = y @ z", "user@localhost"),
    *("1,234,567,890", "(1, 2, 3, 4, 5, 6, 7)", "100 200 300 400", "0.1.2", "1-2-3-4-5-6-7-8"),
    "4.14.77.92",  # a version that looks like an address: taken for one
)
FRAMES = ("Please note {} for later use.", "请记住{}，谢谢。", "id={}; see ({})\n")


def personal(**knobs: Any) -> Any:  # the plugin's own class
    return build(tiny.part("filter", "personal", **knobs))


def masked(text: str, **knobs: Any) -> str:
    return personal(**knobs).masked(text)[0]


def test_recall_and_precision_on_planted_data_and_near_misses() -> None:
    made = personal()
    found: Counter[str] = Counter()
    for frame in FRAMES:
        for placeholder, items in PLANTED.items():
            expected = frame.replace("{}", placeholder)
            found[placeholder] += sum(
                made.masked(frame.replace("{}", item))[0] == expected for item in items
            )
    assert found == {
        "<EMAIL>": 18,
        "<PHONE>": 42,
        "<IP>": 18,
        "<IBAN>": 15,
        "<CARD>": 21,
        "<NATIONAL_ID>": 36,
    }
    n_planted = len(FRAMES) * sum(map(len, PLANTED.values()))
    assert (found.total(), n_planted) == (150, 165)
    wrong = [
        text
        for frame in FRAMES
        for text in (frame.replace("{}", item) for item in NEAR)
        if made.masked(text)[0] != text
    ]
    assert wrong == [frame.replace("{}", "4.14.77.92") for frame in FRAMES]
    assert len(NEAR) * len(FRAMES) == 165
    assert round(found.total() / n_planted, 2) == 0.91  # recall
    assert round(found.total() / (found.total() + len(wrong)), 2) == 0.98  # precision


def test_the_audit_has_kinds_and_numbers_and_never_the_data() -> None:
    decision = personal().decide(Text("jane@example.org, joe@example.org, 81.2.69.142"))
    assert isinstance(decision, Change)
    assert decision.record == Text("<EMAIL>, <EMAIL>, <IP>")
    assert decision.edits == [Edit("email", "", "<EMAIL>", 2), Edit("ip", "", "<IP>", 1)]
    assert personal().decide(Text("nothing here")) is None


def test_every_text_of_a_record_is_searched() -> None:
    decision = personal().decide(Preference("a@b.org", Message("assistant", "c@d.org"), "no"))
    assert isinstance(decision, Change)
    assert decision.record == Preference("<EMAIL>", Message("assistant", "<EMAIL>"), "no")


def test_kinds_countries_and_regions_can_be_chosen() -> None:
    text = "a@b.org 81.2.69.142 4111111111111111 DE89370400440532013000 +16502530000 536-90-4399"
    kinds = ("email", "ip", "card", "iban", "phone", "national")
    assert masked(text) == "<EMAIL> <IP> <CARD> <IBAN> <PHONE> <NATIONAL_ID>"
    assert masked(text, **dict.fromkeys(kinds, False)) == text
    assert masked("536-90-4399", countries=["DE"]) == "536-90-4399"
    assert masked("020 7946 0958", regions=["GB"]) == "<PHONE>"
    assert masked("(650) 253-0000", regions=["CN"]) == "(650) 253-0000"
    with pytest.raises(ValueError, match=r"countries=\['XX'\]: no number is known. Known: BR, "):
        personal(countries=["XX"])
    with pytest.raises(ValueError, match="regions must be ISO 3166 codes"):
        personal(regions=["usa"])


def test_words_in_capital_letters_after_an_account_are_not_part_of_it() -> None:
    text = "IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF"
    assert masked(text) == "IBAN <IBAN> BIC COBADEFF"


def test_overlapping_spans_are_replaced_as_one() -> None:
    assert replaced("abcdef", [(0, 2), (1, 4), (5, 6)], "_") == ("_e_", 2)


def test_repeated_text_is_searched_in_a_short_time() -> None:
    made = personal()
    for part in ("a.", "a@", "1 ", "+1-", "AB12", "2000:", "9" * 15 + " ", "(650) "):
        made.masked(part * (4_000 // len(part)))  # would not end if a pattern took exponential time


def test_without_the_library_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("clm", tmp_path)
    config.filter = {"personal": tiny.part("filter", "personal")}
    monkeypatch.setattr(compatibility, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"filter=personal needs .*\n.*etude\[clean\]"):
        compatibility.check(config)
