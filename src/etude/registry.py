"""Finds plugins by address, and knows what each declares.

The address of a plugin is its path: `objective/dpo` is `plugins/objective/dpo.py`. Finding and
listing read folders; only `load` imports.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from etude.capability import Capability
from etude.errors import ConfigError
from etude.schema import PluginConfig

ROOT = "etude.plugins"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a plugin says of itself, beside its config: the keywords of `@plugin`."""

    reads: frozenset[type] = frozenset()
    """Objectives: kinds of record it can learn from."""
    yields: type | None = None
    """Data: the kind of record it gives."""
    needs: frozenset[Capability] = frozenset()
    """Objectives: what the network must be able to do."""
    provides: frozenset[Capability] = frozenset()
    """Architectures: what the network can do."""
    lr: float | None = None
    """Objectives: the peak learning rate when none is given."""
    data: str | None = None
    """Objectives: the option of the group `data` when none is given."""
    reward: str | None = None
    """Objectives: the option of the group `reward` when none is given."""
    batch_statistic: bool = False
    """Objectives: the loss of a sample depends on the others of its micro-batch."""


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin: `build(config, ...)` makes the thing, as its group's contract says."""

    address: str
    config: type[PluginConfig]
    build: Callable[..., Any]
    declaration: Declaration

    @property
    def file(self) -> Path:
        """The file it was loaded from."""
        return Path(str(sys.modules[self.config.__module__].__file__))


def plugin(config: type[PluginConfig], **declared: Any) -> Callable[[F], F]:
    """Marks a class or factory that takes its config first as the plugin of its file."""
    for name in ("reads", "needs", "provides"):
        if name in declared:
            declared[name] = frozenset(declared[name])
    declaration = Declaration(**declared)

    def mark(build: F) -> F:
        if config.__module__ != build.__module__:
            raise ConfigError(
                f"{build.__module__} registers {build.__name__} with {config.__name__}, which is "
                f"defined in {config.__module__}. A plugin's config stands in the plugin's file."
            )
        address = config.__module__.removeprefix(ROOT + ".").replace(".", "/")
        config.__plugin__ = Plugin(address, config, build, declaration)  # type: ignore[attr-defined]
        return build

    return mark


def plugin_of(config: PluginConfig | type[PluginConfig]) -> Plugin:
    """Returns the plugin that a config (or its class) chooses."""
    kind = config if isinstance(config, type) else type(config)
    return kind.__dict__["__plugin__"]


def build(config: PluginConfig, *given: Any) -> Any:  # each group's contract types its result
    """Builds what `config` chooses; `given` are the further arguments of its group's contract."""
    return plugin_of(config).build(config, *given)
