"""Registers plugins with their declarations, and loads them by address."""

import importlib
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import getsourcelines, isabstract, signature
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from etude.capability import Capability
from etude.config.deferred_import import complete
from etude.config.plugin_files import ROOT, canonical, find, refuse_ambiguous_modules
from etude.config.plugin_traceback import places, reason
from etude.config.schema.plugins import PluginConfig
from etude.errors import ConfigError, EtudeError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The keywords of `@plugin`: what a plugin declares in addition to its config."""

    reads: frozenset[type] = frozenset()
    """Objectives: the kinds of record it trains on."""
    yields: type | None = None
    """Data and their records: the kind of record it yields."""
    columns: type = type(None)
    """Records: the dataclass with the names of the fields that it reads, and what they mean."""
    needs: frozenset[Capability] = frozenset()
    """Objectives: the capabilities it requires of the network; streams: of all its mixers."""
    provides: frozenset[Capability] = frozenset()
    """Architectures and mixers: capabilities; a network has those that both provide."""
    windowed: bool = False
    """Mixers: applies the attention window of the context."""
    lr: float | None = None
    """Objectives: the default peak learning rate."""
    data: str | None = None
    """Objectives: the default option of the group `data`."""
    reward: str | None = None
    """Objectives: the default option of the group `reward`."""
    multi_turn: bool = False
    """Objectives: train on the policy's own tokens alone, so that an environment may reply."""
    scores: bool = False
    """Environments: give a reward of their own, so that no option of `reward` is needed."""
    max_devices: int | None = None
    """Strategies: the maximum number of devices; None = no limit."""
    shards: bool = False
    """Strategies: shards weights over devices; only the network's weights can be sharded."""
    precisions: frozenset[str] | None = None
    """Strategies: the supported values of trainer.precision; None = all."""
    averages: bool = False
    """Optimizers: evaluates an average of its steps, so that the learning rate must not decay."""
    elementwise: bool = False
    """Optimizers: each element moves by about the learning rate, whatever its gradient's scale."""
    stays_at_peak: bool = False
    """Schedules: the learning rate stays at its peak after the warmup."""
    extra: str | None = None
    """The extra of étude that it needs, named after the library that the extra installs."""
    libraries: frozenset[str] = frozenset()
    """The modules of that extra that it needs, if the extra has another name."""
    loads: bool = False
    """Tokenizers: loads the tokenizer in the folder `path`; exactly one plugin does."""
    whole_prompt: bool = False
    """Objectives: attention over the prompt is bidirectional, in training and in generation."""
    merges: bool = False
    """Adapters: can be merged into the network's weights."""
    starts_as_base: bool = True
    """Adapters: changes no output before training; virtual tokens do."""
    tokens: frozenset[str] = frozenset()
    """Objectives and their parts: roles such as "mask", or "sentinels", that they write into raw
    text; a tokenizer without them gets new ids."""
    example: Mapping[str, str | float] = field(default_factory=dict[str, str | float])
    """What `etude check` needs in addition: values of its knobs, or choices such as objective=grpo.
    `{file}` begins a line of an example file (# is its number); `{run}` is a small run, and
    `{run:objective=reward}` one with these overrides."""
    batch_statistic: bool = False
    """Objectives: the loss of a sample depends on the other samples of its micro-batch."""


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin; `build(config, ...)` returns what its group's contract defines."""

    address: str
    config: type[PluginConfig]
    declaration: Declaration

    @property
    def build(self) -> Callable[..., Any]:
        """The class or factory; executes the rest of its file. Raises ConfigError if that fails."""
        with _import_errors(self.address, self.file):
            complete(sys.modules[self.config.__module__])
        return self.config.__dict__["__build__"]

    @property
    def file(self) -> Path:
        """The file it was loaded from."""
        return Path(str(sys.modules[self.config.__module__].__file__))


def plugin(config: type[PluginConfig], **declared: Any) -> Callable[[F], F]:
    """Registers a class or factory that takes its config first as the plugin of its file."""
    for name in ("reads", "needs", "provides", "precisions", "tokens", "libraries"):
        if name in declared:
            declared[name] = frozenset(declared[name])
    address = config.__module__.removeprefix(ROOT + ".").replace(".", "/")
    made = Plugin(address, config, Declaration(**declared))
    config.__plugin__ = made  # type: ignore[attr-defined]

    def mark(build: F) -> F:
        if config.__module__ != build.__module__:
            raise ConfigError(
                f"{build.__module__} registers {build.__name__} with {config.__name__}, which is "
                f"defined in {config.__module__}. The config must be in the plugin's file."
            )
        config.__build__ = build  # type: ignore[attr-defined]
        return build

    return mark


def plugin_of(config: PluginConfig | type[PluginConfig]) -> Plugin:
    """Returns the plugin of a config or config class."""
    kind = config if isinstance(config, type) else type(config)
    return kind.__dict__["__plugin__"]


def build(config: PluginConfig, *arguments: Any) -> Any:  # each group's contract types its result
    """Builds the plugin of `config`; `arguments` are the others of its group's contract.

    Raises ConfigError for a class that lacks a method, or takes other arguments.
    """
    made = plugin_of(config)
    try:
        signature(made.build).bind(config, *arguments)
        slip = _missing_methods(made.build)
    except TypeError as error:
        given = ", ".join(type(item).__name__ for item in (config, *arguments))
        slip = f"takes other arguments than étude gives it, which are ({given}): {error}."
    if slip:
        line = getsourcelines(made.build)[1]
        raise ConfigError(f"{made.file}:{line}: {made.build.__name__} {slip}")
    return made.build(config, *arguments)


def _missing_methods(build: Callable[..., Any]) -> str:
    """What a class lacks of its contract; empty if nothing."""
    missing: list[str] = sorted(vars(build)["__abstractmethods__"]) if isabstract(build) else []
    hints = [did_you_mean(name, vars(build)) for name in missing]
    return f"lacks {', '.join(missing)}.{''.join(hints)}" if missing else ""


def load(address: str) -> Plugin:
    """Imports the plugin at `address`. Raises ConfigError, with file and reason, if it fails."""
    file, address = find(address), canonical(address)
    with _import_errors(address, file):
        refuse_ambiguous_modules(file)
        module = importlib.import_module(f"{ROOT}.{address.replace('/', '.')}")
        if not _registered(module):  # its config needs a heavy module
            complete(module)
    found = [plugin for plugin in _registered(module) if plugin.address == address]
    if len(found) != 1:
        raise ConfigError(
            f"{file} registers {len(found)} plugins; a plugin file must register one.\n"
            "  Put @plugin(Config) above the class or function whose first argument is Config."
        )
    return found[0]


def _registered(module: ModuleType) -> list[Plugin]:
    """The plugins of the config classes in a module."""
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type))
    return [kind.__dict__["__plugin__"] for kind in kinds if "__plugin__" in kind.__dict__]


@contextmanager
def _import_errors(address: str, file: Path) -> Generator[None]:
    """Converts what the import of a plugin raises to a ConfigError with file and reason."""
    try:
        yield
    except EtudeError:
        raise
    except Exception as error:  # a user's file may raise anything; show it
        lines = [f"{address} cannot be imported: {reason(error)}", *places(error)]
        raise ConfigError("\n".join(lines if places(error) else [*lines, f"  {file}"])) from error
