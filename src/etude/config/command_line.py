"""Makes of what a shell hands over what Hydra's grammar can read.

Free text (a prompt, a path) is quoted, because Hydra would read its commas, spaces and brackets
as syntax; flags move in front, because argparse wants them there.
"""

import re
from dataclasses import dataclass

from etude.errors import ConfigError, did_you_mean

NEVER_SWEPT = frozenset({"prompt", "system", "run", "pattern", "question", "opening_prompt"})
FREE_TEXT = NEVER_SWEPT | {"init_from", "path", "out", "png", "url", "user"}
"""Last parts of the keys whose value is everything after the first `=`, whatever it holds."""

VALUES: dict[str, tuple[str, ...]] = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Hydra's flags that take a value, with the values."""
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
        """Whether the page of the verb is asked for, and nothing else."""
        return "--help" in self.flags

    @property
    def inquiry(self) -> bool:
        """Whether Hydra is to show something (`--cfg`, `--info`, completions), not to run."""
        return bool({"--cfg", "--info", "--shell-completion"} & set(self.flags))


def prepare(arguments: list[str]) -> CommandLine:
    """Sorts and quotes the arguments of a verb. Raises ConfigError for a flag nobody knows."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    pushed: list[str] = []
    while (argument := pushed.pop() if pushed else next(rest, None)) is not None:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        written, _, value = argument.partition("=")
        flag = _flag(written)
        flags.append(flag)
        if flag in VALUES:
            given = value or next(rest, "")
            if given not in VALUES[flag]:
                pushed += [given] if given else []
                given = VALUES[flag][0]
            flags.append(given)
    swept = "--multirun" in flags
    return CommandLine(tuple(flags), tuple(quoted(item, swept) for item in overrides))


def quoted(override: str, swept: bool) -> str:
    """Returns an override in Hydra's grammar; the value of a free-text key is taken literally.

    With `swept`, a comma separates values, but never in a prompt or in the name of a run.
    """
    found = re.fullmatch(r"(\+{0,2}[\w./@-]+)=(.*)", override, re.DOTALL)
    if not found:
        return override
    key, value = found.groups()
    name = re.split(r"[./@+]", key)[-1]
    if name not in FREE_TEXT or value == "null":
        return override
    parts = value.split(",") if swept and name not in NEVER_SWEPT else [value]
    return f"{key}={','.join(_literal(part) for part in parts)}"


def _literal(text: str) -> str:
    """`text` as a quoted string: quotes, interpolations and the backslashes before them escaped."""
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    return (
        "'"
        + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
        + "'"
    )


def _flag(written: str) -> str:
    if written in FLAGS:
        return FLAGS[written]
    raise ConfigError(
        f"{written} is no flag."
        + did_you_mean(written, FLAGS)
        + f"\n  There are: {', '.join(sorted(set(FLAGS.values())))}. All else is key=value."
    )
