"""What a verb that composes no experiment is asked: `key=value`, and one value without a key."""

from collections.abc import Sequence

from etude.errors import ConfigError, did_you_mean


def parse(verb: str, keys: Sequence[str], arguments: Sequence[str]) -> dict[str, str]:
    """The values that are given, by key; one alone is that of the first key, which must be there.

    Raises ConfigError for a key that the verb does not know, or one that is given twice.
    """
    first = keys[0]
    given: dict[str, str] = {}
    for argument in arguments:
        key, joined, value = argument.partition("=")
        if not joined:
            key = first
            value = argument
        if key not in keys:
            hint = did_you_mean(key, keys)
            known = ", ".join(f"{name}=" for name in keys)
            raise ConfigError(f"etude {verb} knows no {argument}.{hint}\n  It takes: {known}.")
        if key in given:
            raise ConfigError(f"{key} is given twice: {given[key]} and {value}.")
        if not value:
            raise ConfigError(f"{key} is empty.")
        given[key] = value
    if first not in given:
        raise ConfigError(f"etude {verb} needs a {first}, such as etude {verb} {first}=<folder>.")
    return given
