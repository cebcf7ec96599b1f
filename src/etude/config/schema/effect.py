"""Declares when a knob has an effect, next to its default; help, checks and tests read it.

`kl_target: float = only_with("controller=adaptive", 6.0)`. A condition refers to other knobs of
the same config, with values as typed on the command line. It is one of these, or several joined
by ` or `:

    replay               neither null nor false
    scaling=fixed        this value; a|b matches either
    unfinished!=keep     any other value
    beta>0               a number greater than this one

A condition on a knob that itself has a condition includes that condition.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, cast

from etude.errors import ConfigError

ONLY_WITH = "only_with"


def only_with(condition: str, default: Any) -> Any:  # Any, so that the field keeps its annotation
    """The default of a knob that has an effect only if `condition` holds.

    Any other value is an error if it does not hold. See the module docstring for conditions.
    """
    metadata = {ONLY_WITH: condition}
    if isinstance(default, list):
        items = cast("list[Any]", default)
        return field(default_factory=lambda: list(items), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Term:
    """One of the alternatives of a condition, such as `controller=adaptive`."""

    name: str
    sign: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value}"

    def holds(self, config: object) -> bool:
        """Whether the values of a config satisfy it."""
        actual = vars(config)[self.name]
        match self.sign:
            case "":
                return actual is not None and actual is not False
            case ">":
                return actual is not None and actual > float(self.value)
            case _:
                return (as_typed(actual) in self.value.split("|")) is (self.sign == "=")


def terms(condition: str) -> list[Term]:
    """The alternatives of a condition. Raises ValueError if its syntax is invalid."""
    matches = [
        re.fullmatch(r"(\w+)(?:(=|!=|>)([^\s=<>]+))?", item) for item in condition.split(" or ")
    ]
    if None in matches:
        raise ValueError(f"{condition!r} is not a condition: see etude.config.schema.effect")
    return [Term(match[1], match[2] or "", match[3] or "") for match in matches if match]


def as_typed(value: object) -> str:
    """A value as typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(as_typed, cast('list[object]', value)))}]"
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    return re.sub(r"\.0$|(?<=e[+-])0", "", text) if isinstance(value, float) else text


def unmet_condition(config: object, name: str) -> str | None:
    """The condition that a knob needs and that does not hold; None if the knob has an effect."""
    condition = vars(type(config))["__dataclass_fields__"][name].metadata.get(ONLY_WITH)
    if condition is None:
        return None
    nested = [unmet_condition(config, term.name) for term in terms(condition) if term.holds(config)]
    return None if None in nested else next(iter(nested), condition)


def refuse_without_effect(config: Any, path: str = "") -> None:  # any dataclass of configs
    """Raises ConfigError for a knob that differs from its default but has no effect."""
    for item in fields(config):
        full_key = f"{path}{item.name}"
        value = vars(config)[item.name]
        for key, part in _parts(value, full_key):
            refuse_without_effect(part, f"{key}.")
        condition = unmet_condition(config, item.name) if value != _default(item) else None
        if condition is not None:
            required = " or ".join(f"{path}{term}" for term in terms(condition))
            names = dict.fromkeys(term.name for term in terms(condition))
            actual = ", ".join(f"{path}{name}={as_typed(vars(config)[name])}" for name in names)
            raise ConfigError(
                f"{full_key}={as_typed(value)} has no effect: "
                f"it is used only with {required} (here {actual})."
            )


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # any value of a config
    """Yields the configs that a value is or contains, with their paths."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _parts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _parts(item, f"{path}[{index}]")
    elif is_dataclass(value):
        yield path, value


def _default(item: Field[Any]) -> Any:  # of whatever type the field has
    return item.default if item.default_factory is MISSING else item.default_factory()
