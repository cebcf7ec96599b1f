"""The last number in a text: the answer, in many formats of questions with numbers."""

import re
from decimal import Decimal

NUMBER = re.compile(
    r"(?:(?<![\w.,)])[-+])?(?<!\w)(?<![0-9]\.)"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?"
    r"(?!\w|\.[0-9])",
    re.ASCII,
)
"""A sign is part of a number unless it stands between two numbers: 10-3 ends in 3."""


def last_number(text: str) -> Decimal | None:
    """The last number in a text; commas may separate thousands."""
    numbers = NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
    return Decimal(numbers[-1].replace(",", "")) if numbers else None
