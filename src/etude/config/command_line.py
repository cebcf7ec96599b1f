"""Converts shell arguments to Hydra's override grammar.

Free text (a prompt, a path) is quoted, because Hydra would parse its commas, spaces and brackets
as syntax. Flags are moved to the front, where argparse expects them.
"""

import glob
import os
import re
from dataclasses import dataclass

from etude.errors import ConfigError, did_you_mean

NEVER_SWEPT = frozenset({"prompt", "system", "run", "pattern", "question", "opening_prompt"})
FREE_TEXT = NEVER_SWEPT | {"init_from", "path", "out", "png", "url", "user"}
"""Keys (last part) whose value is taken literally: everything after the first `=`."""

_PART = re.compile(r"""(?:^|,)("[^"]+"(?=,|\Z)|'[^']+'(?=,|\Z)|[^,]*)""")
"""A value of a sweep: quoted, or without a comma."""
VALUES: dict[str, tuple[str, ...]] = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Hydra's flags that take a value, with the valid values; the first is the default."""
FLAGS = {
    "-m": "--multirun", "--multirun": "--multirun", "-c": "--cfg", "--cfg": "--cfg",
    "-i": "--info", "--info": "--info", "--resolve": "--resolve",
    "-sc": "--shell-completion", "--shell-completion": "--shell-completion",
    "-h": "--help", "--help": "--help",
}  # fmt: skip


@dataclass(frozen=True)
class CommandLine:
    """The arguments of a verb, sorted and quoted."""

    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def multirun(self) -> bool:
        """Whether commas mean a sweep."""
        return "--multirun" in self.flags

    @property
    def help(self) -> bool:
        """Whether the help page of the verb is requested."""
        return "--help" in self.flags

    @property
    def prints_only(self) -> bool:
        """Whether Hydra should print something (`--cfg`, `--info`, completions) instead of run."""
        return bool({"--cfg", "--info", "--shell-completion"} & set(self.flags))


def config_name(verb: str) -> str:
    """The root config of a verb, which is also its module: `best-of` is best_of."""
    return verb.replace("-", "_")


def prepare(arguments: list[str]) -> CommandLine:
    """Sorts and quotes the arguments of a verb. Raises ConfigError for an unknown flag."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    pushed: list[str] = []
    while (argument := pushed.pop() if pushed else next(rest, None)) is not None:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        name, _, value = argument.partition("=")
        flag = _flag(name)
        flags.append(flag)
        if flag in VALUES:
            value = value or next(rest, "")
            if value not in VALUES[flag]:
                pushed += [value] if value else []
                value = VALUES[flag][0]
            flags.append(value)
    is_sweep = "--multirun" in flags
    return CommandLine(tuple(flags), tuple(quote(item, is_sweep) for item in overrides))


def quote(override: str, is_sweep: bool) -> str:
    """Returns an override in Hydra's grammar; the value of a free-text key is taken literally.

    With `is_sweep`, a comma separates values, except in keys of `NEVER_SWEPT`, in quotes, and in
    the name of an existing file.
    """
    match = re.fullmatch(r"(\+{0,2}[\w./@-]+)=(.*)", override, re.DOTALL)
    if not match:
        return override
    key, value = match.groups()
    name = re.split(r"[./@+]", key)[-1]
    if name not in FREE_TEXT or value == "null":
        return override
    parts = _swept_values(key, value) if is_sweep and name not in NEVER_SWEPT else [value]
    return f"{key}={','.join(_literal(part) for part in parts)}"


def _swept_values(key: str, value: str) -> list[str]:
    """The values of a free-text key in a sweep. Raises ConfigError if a comma is ambiguous."""
    parts: list[str] = _PART.findall(value)
    if len(parts) > 1 and _names_a_file(value):
        if all(map(_names_a_file, parts)):
            each = ",".join(f'"{part}"' for part in parts)
            raise ConfigError(
                f"{key}={value}: both this name and each of its parts are files.\n"
                f"""  Quote the name, '{key}="{value}"', or each value, '{key}={each}'."""
            )
        return [value]
    return [
        part[1:-1] if part[:1] in ("'", '"') and part[0] == part[-1] else part for part in parts
    ]


def _names_a_file(value: str) -> bool:
    place = os.path.expanduser(value)
    return os.path.exists(place) or any(glob.iglob(place))


def _literal(text: str) -> str:
    """`text` as a quoted string; escapes quotes, interpolations and the backslashes before them."""
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    return (
        "'"
        + re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
        + "'"
    )


def _flag(name: str) -> str:
    if name in FLAGS:
        return FLAGS[name]
    raise ConfigError(
        f"{name} is not a flag."
        + did_you_mean(name, FLAGS)
        + f"\n  Flags: {', '.join(sorted(set(FLAGS.values())))}. Other arguments are key=value."
    )
