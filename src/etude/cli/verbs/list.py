"""Lists what can be chosen: every group, or the options of one (`etude list objective`)."""

from etude.config.hydra_errors import listing
from etude.config.plugin_files import configurations, groups, options
from etude.config.plugin_source import describe, heading, presets
from etude.errors import ConfigError, did_you_mean


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    known = _groups()
    for group in arguments:
        if group not in known:
            hint = did_you_mean(group, known)
            raise ConfigError(f"There is no group {group}.{hint}{listing('Groups', known)}")
    for group in arguments or known:
        print(group)
        rows = _rows(group)
        width = max((len(name) for name in rows), default=0)
        for name, summary in rows.items():
            print(f"  {name:<{width}}  {summary}".rstrip())
    return 0


def _groups() -> list[str]:
    """The groups of plugins, and the folders of YAML that are chosen from alike."""
    folders = [
        file.parent.relative_to(folder).as_posix()
        for folder in configurations()
        for file in folder.glob("*/**/*.yaml")
    ]
    return sorted({*groups(), *folders})


def _rows(group: str) -> dict[str, str]:
    """Each option with its first line; what is wrong with it where it cannot be read."""
    rows: dict[str, str] = {}
    for name in options(group):
        try:
            rows[name] = describe(f"{group}/{name}").summary
        except ConfigError as error:
            rows[name] = f"! {str(error).partition(chr(10))[0]}"
    return rows | {name: heading(file) for name, file in presets(group).items()}
