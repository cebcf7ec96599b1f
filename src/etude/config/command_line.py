"""Converts shell arguments to Hydra's: flags to the front, free text quoted."""

from dataclasses import dataclass

from etude.config.plugin_files import use_config_dir
from etude.errors import ConfigError, did_you_mean

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
CONFIG_DIR_FLAG = "--config-dir"


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
        if name in (CONFIG_DIR_FLAG, "-cd"):
            use_config_dir(value or next(rest, ""))
            continue
        flag = _flag(name)
        flags.append(flag)
        if flag in VALUES:
            value = value or next(rest, "")
            if value not in VALUES[flag]:
                pushed += [value] if value else []
                value = VALUES[flag][0]
            flags.append(value)
    from etude.config.free_text import quote  # imports Hydra, which some verbs do not need

    is_sweep = "--multirun" in flags
    return CommandLine(tuple(flags), tuple(quote(one, overrides, is_sweep) for one in overrides))


def _flag(name: str) -> str:
    if name in FLAGS:
        return FLAGS[name]
    hint = did_you_mean(name, FLAGS)
    if name in ("--config-name", "-cn", "--config-path", "-cp"):
        hint = (
            "\n  Defaults of your own are in conf/train.yaml, recipes in conf/experiment/; "
            "--config-dir=<folder> adds\n  another folder like conf/."
        )
    flags = ", ".join(sorted({*FLAGS.values(), CONFIG_DIR_FLAG}))
    raise ConfigError(
        f"{name} is not a flag.{hint}\n  Flags: {flags}.\n  Other arguments are key=value."
    )
