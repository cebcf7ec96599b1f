"""Help pages for groups, nodes such as `trainer`, and single keys."""

from collections.abc import Iterator, Mapping
from textwrap import fill

from etude.cli.pages.group import purposes, rows
from etude.cli.pages.keys import Default, default_option, keys_of, verbs, verbs_with
from etude.cli.pages.knobs import entry
from etude.cli.pages.plugin import key_of, keys_page
from etude.config.plugin_files import groups
from etude.config.plugin_source import Knob, descriptions

WIDTH = 96


def group_page(group: str) -> str:
    """The options of a group with their summaries, and the knobs of the default option."""
    purpose = purposes().get(group)
    parts = [f"{group}: {purpose}" if purpose else group, "\n".join(rows(group))]
    option = default_option(group)
    if option and group in groups():
        keys_of_default = keys_page(group, option)
        end = "Its keys:" if keys_of_default else "It has no keys."
        parts += [_wrap(f"{_default_line(group, option)} {end}"), keys_of_default]
    nested = [name for name in groups() if name.startswith(f"{group}/")]
    parts += [_wrap(f"Nested groups: {', '.join(nested)}.")] if nested else []
    return "\n\n".join(part for part in parts if part)


def key_page(key: str) -> str | None:
    """The page of a verb's key, or of every key of a node such as `trainer`; None if unknown."""
    node = next((doc for verb in verbs() if (doc := keys_of(verb).nodes.get(key))), None)
    verbs_by_text: dict[str, list[str]] = {}
    for verb in verbs():
        own = keys_of(verb).own
        shown = {name: knob for name, knob in own.items() if name == key or _is_in(name, key)}
        if shown:
            text = "\n".join(entry(name, knob) for name, knob in shown.items())
            verbs_by_text.setdefault(text, []).append(verb)
    parts = [f"{key}: {node}"] if node else []
    parts += [f"{text}\n\n{_used_by(names)}" for text, names in verbs_by_text.items()]
    return "\n\n".join(parts) or None


def plugin_key_page(key: str) -> str | None:
    """The page of a plugin key such as `objective.beta`, for each plugin with it; None if none."""
    texts: dict[str, list[str]] = {}
    for group, name, path, knob in _plugin_keys():
        if key in (path, f"{group.replace('/', '.')}.{knob.name}") and not knob.group:
            texts.setdefault(entry(path, knob), []).append(f"{group}={name}")
    pages = [f"{text}\n{_wrap('In ' + ', '.join(names) + '.', 4)}" for text, names in texts.items()]
    return "\n\n".join(pages) or None


def keys() -> set[str]:
    """Every key and node that has a page."""
    own = {key for verb in verbs() for key in (*keys_of(verb).own, *keys_of(verb).nodes)}
    return own | {path for _, _, path, knob in _plugin_keys() if not knob.group}


def _plugin_keys() -> Iterator[tuple[str, str, str, Knob]]:
    for group in groups():
        for name, plugin in descriptions(group).items():
            for knob in plugin.knobs:
                yield group, name, f"{key_of(group, plugin)}.{knob.name}", knob


def _is_in(name: str, node: str) -> bool:
    return name.startswith(f"{node}.")


def _default_line(group: str, option: str) -> str:
    """A sentence on which option is the default, in which verb, and what declares it."""
    defaults = verbs_with(group)
    if not defaults:
        parent, _, _ = group.rpartition("/")
        return f"{group}={option} is the default of {parent}={default_option(parent)}."
    ((verb, first), *others) = defaults.items()
    by = f", which {first.declared_by} declares" if first.declared_by else ""
    line = f"{group}={option} is the default of etude {verb}{by}."
    return f"{line}{_other_defaults(group, first, dict(others))}"


def _other_defaults(group: str, first: Default, others: Mapping[str, Default]) -> str:
    different: dict[str, list[str]] = {}
    for verb, default in others.items():
        if default != first:
            different.setdefault(f"{group}={default}", []).append(f"etude {verb}")
    return "".join(
        f" The default of {', '.join(names)} is {text}." for text, names in different.items()
    )


def _used_by(names: list[str]) -> str:
    return _wrap(f"Used by {', '.join(f'etude {name}' for name in sorted(names))}.")


def _wrap(text: str, indent: int = 0) -> str:
    return fill(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)
