"""Lists the options of every group, or of some groups (`etude list objective`)."""

from etude.cli.pages.group import all_groups, rows
from etude.config.hydra_errors import listing
from etude.errors import ConfigError, did_you_mean


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    known = all_groups()
    for group in arguments:
        if group not in known:
            hint = did_you_mean(group, known)
            raise ConfigError(f"The group {group} does not exist.{hint}{listing('Groups', known)}")
    for group in arguments or known:
        print(group)
        for row in rows(group):
            print(row)
    return 0
