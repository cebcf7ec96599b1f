"""Shows one choice: source, knobs, values, what it fits with (`etude show architecture=llama`)."""

from etude.cli.pages.plugin import page
from etude.config.plugin_source import presets, stands_on
from etude.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    if not arguments:
        raise ConfigError("etude show needs a choice, such as objective=dpo.\n  See etude list.")
    for argument in arguments:
        group, _, name = argument.replace("=", "/").rpartition("/")
        file = presets(group).get(name)
        if file and stands_on(file) is None:  # a recipe: its text is all there is to it
            print(f"{group}={name}  {file}\n\n{file.read_text(encoding='utf-8').rstrip()}")
        else:
            print(page(group, name))
    return 0
