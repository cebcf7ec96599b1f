"""Loads plugins by address, and knows what each declares."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from etude.capability import Capability
from etude.config.plugin_files import ROOT, find, refuse_ambiguous_modules
from etude.config.schema.plugins import PluginConfig
from etude.errors import ConfigError, EtudeError

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
    """Architectures and mixers: what the network can do; a network can do what both can."""
    lr: float | None = None
    """Objectives: the peak learning rate when none is given."""
    data: str | None = None
    """Objectives: the option of the group `data` when none is given."""
    reward: str | None = None
    """Objectives: the option of the group `reward` when none is given."""
    max_devices: int | None = None
    """Strategies: the most devices it can share the work among; None = any number."""
    shards: bool = False
    """Strategies: weights are spread over the devices, which only those of the network can be."""
    precisions: frozenset[str] | None = None
    """Strategies: what it can compute in, as trainer.precision calls it; None = all."""
    extra: str | None = None
    """The extra of the package that it needs, which has the name of the library it brings."""
    loads: bool = False
    """Tokenizers: takes what stands in the folder `path`; one plugin does."""
    whole_prompt: bool = False
    """Objectives: the tokens of a prompt see one another, in training and when it is answered."""
    merges: bool = False
    """Adapters: what is learned can become part of the network's weights."""
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
    for name in ("reads", "needs", "provides", "precisions"):
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


def load(address: str) -> Plugin:
    """Imports the plugin at `address`. Raises ConfigError, naming file and reason, if it fails."""
    file = find(address)
    try:
        refuse_ambiguous_modules(file)
        module = importlib.import_module(f"{ROOT}.{address.replace('/', '.')}")
    except EtudeError:
        raise
    except Exception as error:  # whatever a user's file raises is the answer to the user
        raise ConfigError(
            f"{address} cannot be imported from {file}:\n  {type(error).__name__}: {error}"
        ) from error
    marked = [
        kind.__dict__["__plugin__"]
        for kind in vars(module).values()
        if isinstance(kind, type) and "__plugin__" in kind.__dict__
    ]
    found: list[Plugin] = [plugin for plugin in marked if plugin.address == address]
    if len(found) != 1:
        raise ConfigError(
            f"{file} holds {len(found)} plugins; a plugin file has one.\n"
            "  Put @plugin(Config) over the class or factory that takes Config first."
        )
    return found[0]
