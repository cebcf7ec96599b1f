"""Finds personal data in a text, by its form and, where it has one, its checksum.

Each function yields (start, end) of what it finds, in characters. Nothing that touches a letter or
digit of ASCII on either side is found, so Chinese text may surround it and hashes are left out.
"""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from ipaddress import ip_address
from typing import Final

Span = tuple[int, int]
_BEFORE: Final = r"(?<![A-Za-z0-9_.%+-])"
_AFTER: Final = r"(?![A-Za-z0-9_]|-[A-Za-z0-9])"
_EMAIL: Final = re.compile(
    rf"{_BEFORE}[A-Za-z0-9_.%+-]{{1,64}}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
    rf"\.(?!(?:png|jpe?g|gif|svg|webp|css|js)\b)[A-Za-z]{{2,}}{_AFTER}"
)
"""Names of files such as icon@2x.png are left out."""
_IPV4: Final = re.compile(rf"{_BEFORE}(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}{_AFTER}(?!\.[0-9])")
_IPV6: Final = re.compile(
    r"(?<![A-Za-z0-9_:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![A-Za-z0-9_:])"
)
_SHORT: Final = re.compile(r"(?:[0-9]\.){3}[0-9]")
"""A version rather than an address: 1.2.3.4."""
_VERSION: Final = re.compile(r"(?:\bv|version|release|版本)[\s:=]*$", re.IGNORECASE)
_IBAN: Final = re.compile(rf"{_BEFORE}[A-Z]{{2}}[0-9]{{2}}(?: ?[A-Z0-9]){{11,30}}{_AFTER}")
_CARD: Final = re.compile(
    rf"{_BEFORE}(?:[0-9]{{4}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{1,7}}"
    rf"|[0-9]{{4}}([ -])[0-9]{{6}}\2[0-9]{{4,5}}|[0-9]{{14,19}}){_AFTER}"
)
_ISSUERS: Final = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|6(?:011|5\d\d)\d{12}|35\d{14}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
"""Visa, Mastercard, American Express, Discover, JCB, Diners Club and UnionPay."""
NATIONAL: Final = {
    "BR": (r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf"),
    "CN": (r"\d{17}[\dXx]", "cn.ric"),
    "DE": (r"\d{2} \d{3} \d{3} \d{3}", "de.idnr"),
    "ES": (r"(?:[XYZ]-?\d{7}|\d{8})-?[A-Z]", "es.nif"),
    "FI": (r"\d{6}[-+A]\d{3}[0-9A-Y]", "fi.hetu"),
    "FR": (r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", "fr.nir"),
    "IN": (r"\d{4} \d{4} \d{4}", "in_.aadhaar"),
    "IT": (r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", "it.codicefiscale"),
    "PL": (r"\d{11}", "pl.pesel"),
    "US": (r"\d{3}-\d{2}-\d{4}", "us.ssn"),
}
"""By country: how its number for a person is written, and its module in python-stdnum. Only the
American number has no checksum. Weaker checksums are checked in their usual grouping alone."""
_DIGITS: Final = re.compile(r"(?:\d[ ().\-/\u2010-\u2015]{0,3}){7,}", re.ASCII)
"""What every phone number contains."""


def emails(text: str) -> Iterator[Span]:
    """Yields e-mail addresses."""
    yield from (found.span() for found in _EMAIL.finditer(text))


def ips(text: str) -> Iterator[Span]:
    """Yields public IP addresses; not private, reserved and documentation ones, nor versions."""
    for found in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
        before = text[max(0, found.start() - 20) : found.start()]
        if not (_SHORT.fullmatch(found[0]) or _VERSION.search(before)) and _is_public(found[0]):
            yield found.span()


def _is_public(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


def ibans(text: str) -> Iterator[Span]:
    """Yields bank accounts whose IBAN is valid for their country (ISO 13616)."""
    from stdnum import iban

    for found in _IBAN.finditer(text):
        ends = [found.start() + gap.start() for gap in re.finditer(r"(?: |$)", found[0])]
        valid = (end for end in reversed(ends) if iban.is_valid(text[found.start() : end]))
        if end := next(valid, None):  # words in capital letters may follow
            yield found.start(), end


def cards(text: str) -> Iterator[Span]:
    """Yields payment cards of the large issuers, with a valid check digit (Luhn, ISO 7812)."""
    from stdnum import luhn

    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if _ISSUERS.fullmatch(digits) and luhn.is_valid(digits):
            yield found.span()


def nationals(text: str, countries: Iterable[str]) -> Iterator[Span]:
    """Yields the numbers of persons of some of the countries in NATIONAL."""
    for country in countries:
        form, name = NATIONAL[country]
        module = import_module(f"stdnum.{name}")
        for found in re.finditer(f"{_BEFORE}{form}{_AFTER}", text, re.ASCII):
            if module.is_valid(found[0]):
                yield found.span()


def phones(text: str, regions: Iterable[str]) -> Iterator[Span]:
    """Yields valid phone numbers: international ones, and those of the regions.

    Digits without any separator are one only if they can be nothing but a mobile number, as in
    China: other numbers of ten digits are too often no phone numbers.
    """
    from phonenumbers import Leniency, PhoneNumberMatcher, PhoneNumberType, number_type

    for line in re.finditer(r"[^\n]+", text):
        if not _DIGITS.search(line[0]):
            continue
        for region in (*regions, None):
            for found in PhoneNumberMatcher(line[0], region, leniency=Leniency.STRICT_GROUPING):
                is_mobile = number_type(found.number) == PhoneNumberType.MOBILE
                raw = found.raw_string
                opened = raw.startswith("(") and ")" not in raw  # of the sentence
                if is_mobile or not raw[opened:].isdigit():
                    yield line.start() + found.start + opened, line.start() + found.end
