"""Parses the arguments of verbs without a config: `key=value`, and one value without a key."""

from collections.abc import Sequence

from etude.errors import ConfigError, did_you_mean


def parse(verb: str, keys: Sequence[str], arguments: Sequence[str]) -> dict[str, str]:
    """Returns the values by key; a value without a key belongs to the first key, which is required.

    Raises ConfigError for an unknown key, or one that is given twice.
    """
    first = keys[0]
    values: dict[str, str] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator:
            key = first
            value = argument
        if key not in keys:
            hint = did_you_mean(key, keys)
            known = ", ".join(f"{name}=" for name in keys)
            raise ConfigError(f"etude {verb} does not take {argument}.{hint}\n  It takes: {known}.")
        if key in values:
            raise ConfigError(f"{key} is given twice: {values[key]} and {value}.")
        if not value:
            raise ConfigError(f"{key} is empty.")
        values[key] = value
    if first not in values:
        raise ConfigError(f"etude {verb} needs a {first}: etude {verb} {first}=<folder>.")
    return values
