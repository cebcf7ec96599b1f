"""Checks that the parts of an experiment are compatible, before anything is built."""

from collections.abc import Mapping
from importlib.util import find_spec

from etude.capability import SIGHT, Capability
from etude.config.config_file import children, nodes
from etude.config.plugin_files import options
from etude.config.plugin_source import descriptions, presets, stands_on
from etude.config.registry import plugin_of
from etude.config.schema.blocks import PositionConfig, StackConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    PluginConfig,
    TextDataConfig,
)
from etude.errors import CompositionError, MissingExtraError
from etude.records import LIFTS


def check(config: ExperimentConfig, architecture: str | None = None) -> None:
    """Raises CompositionError if the parts cannot train together.

    `architecture` is the name of the chosen option, such as a preset, if known.
    """
    check_extras(config)
    _check_records(config)
    name = architecture or _name(config.architecture)
    check_mixer(config.architecture, name)
    _check_needs(config, name)
    _check_reward(config)
    _check_length(config)
    _check_adapter(config)
    _check_steps(config)
    _check_devices(config)
    _check_precision(config)


def check_extras(config: object) -> None:
    """Raises MissingExtraError if a plugin in `config` needs an extra that is not installed."""
    for path, node in nodes(config):
        extra = plugin_of(node).declaration.extra
        if extra is not None and find_spec(extra) is None:
            raise MissingExtraError(
                f"{path.rpartition('.')[0]}={_name(node)} needs {extra}, which is not installed.\n"
                f"  pip install 'etude[{extra}]' brings it."
            )


def _name(config: PluginConfig) -> str:
    return plugin_of(config).address.rpartition("/")[2]


def _check_records(config: ExperimentConfig) -> None:
    reads = plugin_of(config.objective).declaration.reads
    yields = plugin_of(config.data).declaration.yields
    if yields in reads or any((yields, kind) in LIFTS for kind in reads):
        return
    names = frozenset(kind.__name__ for kind in reads)
    raise CompositionError(
        f"objective={_name(config.objective)} cannot learn from data={_name(config.data)}.\n"
        f"  It reads {', '.join(sorted(readable(names)))}; this data yields "
        f"{yields.__name__ if yields else 'nothing declared'}.\n"
        f"  Data here that fits: {', '.join(data_for(names)) or 'none'}."
    )


def readable(reads: frozenset[str]) -> frozenset[str]:
    """The names of the kinds of record in `reads`, or convertible to one of them."""
    return reads | {source.__name__ for source, target in LIFTS if target.__name__ in reads}


def data_for(reads: frozenset[str]) -> list[str]:
    """The options of the group `data` that an objective with these `reads` can train on."""
    kinds = readable(reads)
    return [name for name, one in descriptions("data").items() if kinds & one.names("yields")]


def capabilities_of(architecture: ArchitectureConfig) -> frozenset[Capability]:
    """The capabilities of a network: those that both its architecture and its mixer provide."""
    found = plugin_of(architecture).declaration.provides
    if isinstance(architecture, StackConfig):
        found &= plugin_of(architecture.mixer).declaration.provides
    return found


def check_mixer(architecture: ArchitectureConfig, name: str) -> None:
    """Raises CompositionError if the mixer lacks the attention pattern of its architecture."""
    needs = plugin_of(architecture).declaration.provides & SIGHT
    if isinstance(architecture, StackConfig) and not needs <= capabilities_of(architecture):
        raise CompositionError(
            f"architecture={name} cannot have architecture/mixer={_name(architecture.mixer)}.\n"
            f"  {_said(needs)}\n  {_having('architecture/mixer', needs)}"
        )


def _check_needs(config: ExperimentConfig, architecture: str) -> None:
    needs = plugin_of(config.objective.task).declaration.needs
    lacking = needs - capabilities_of(config.architecture)
    name = _name(config.objective)
    if not lacking:
        try:
            return config.objective.check(config.architecture)
        except ValueError as error:
            raise CompositionError(
                f"objective={name} cannot train architecture={architecture}: {error}."
            ) from error
    able = plugin_of(config.architecture).declaration.provides
    lines = [f"architecture={architecture}.", _said(lacking)]
    if not lacking <= able:
        families = families_for(frozenset(need.name for need in lacking))
        lines.append(f"Architectures that provide it: {', '.join(families) or 'none'}.")
    if isinstance(config.architecture, StackConfig):
        mixer = config.architecture.mixer
        if not lacking <= plugin_of(mixer).declaration.provides:
            lines[0] = f"architecture={architecture} with architecture/mixer={_name(mixer)}."
            lines.append(_having("architecture/mixer", lacking))
    raise CompositionError(f"objective={name} cannot train " + "\n  ".join(lines))


def _said(needs: frozenset[Capability]) -> str:
    return f"It needs {' and '.join(sorted(f'{need.name} ({need.value})' for need in needs))}."


def _having(group: str, needs: frozenset[Capability]) -> str:
    names = {need.name for need in needs}
    found = [n for n, one in descriptions(group).items() if names <= one.names("provides")]
    return f"Options of {group} that provide it: {', '.join(found) or 'none'}."


def families_for(needs: frozenset[str]) -> list[str]:
    """The architectures that provide all of `needs`, each with the presets based on it."""
    found: list[str] = []
    for stack, one in descriptions("architecture").items():
        if needs <= one.names("provides"):
            famous = famous_as(stack)
            found.append(f"{stack} ({', '.join(famous)})" if famous else stack)
    return found


def famous_as(stack: str) -> list[str]:
    """The presets based on an architecture."""
    return [name for name, file in presets("architecture").items() if stands_on(file) == stack]


def _check_reward(config: ExperimentConfig) -> None:
    objective = _name(config.objective)
    wanted = plugin_of(config.objective).declaration.reward is not None
    if wanted and not config.reward:
        raise CompositionError(
            f"objective={objective} learns from a reward, and none is chosen.\n"
            f"  Rewards: {', '.join(options('reward'))}."
        )
    if config.reward and not wanted:
        raise CompositionError(
            f"reward=[{','.join(config.reward)}] has no effect: "
            f"objective={objective} takes no reward.\n"
            "  Leave it out, or choose an objective that does: "
            f"{', '.join(takers()) or 'there is none'}."
        )


def takers() -> list[str]:
    """The objectives that use a reward."""
    return [n for n, one in descriptions("objective").items() if one.declared.get("reward")]


def _check_length(config: ExperimentConfig) -> None:
    room = longest(config.architecture)
    before = places_before(config.adapter)
    if room and config.data.seq_len + before > room:
        asked = f"data.seq_len={config.data.seq_len}"
        asked += f", with {before} places for what adapters put before it," if before else ""
        raise CompositionError(
            f"{asked} is longer than architecture.position.max_positions"
            f"={room}.\n  Raise max_positions or lower seq_len."
        )


def places_before(adapter: Mapping[str, AdapterConfig]) -> int:
    """Number of positions that the adapters insert before the text."""
    return sum(config.n_places for config in adapter.values())


def _check_adapter(config: ExperimentConfig) -> None:
    names = ",".join(config.adapter)
    if names and config.init_from is None:
        raise CompositionError(
            f"adapter=[{names}] adapts what another run has learned, and there is none.\n"
            "  init_from=<run folder or Hugging Face folder> names it; without an adapter a new "
            "network is trained."
        )
    confined = isinstance(config.data, TextDataConfig) and config.data.intra_document
    if places_before(config.adapter) and confined:
        raise CompositionError(
            f"adapter=[{names}] cannot stand before each document of a row.\n"
            "  data.intra_document=false, or data.pack=false: then a row is one document."
        )


def _check_steps(config: ExperimentConfig) -> None:
    if config.trainer.max_tokens is not None and not isinstance(config.data, TextDataConfig):
        raise CompositionError(
            f"trainer.max_tokens={config.trainer.max_tokens} counts the tokens of raw text, and "
            f"data={_name(config.data)} is not text.\n"
            "  trainer.max_steps or trainer.max_epochs work with any data."
        )


def _check_devices(config: ExperimentConfig) -> None:
    most = plugin_of(config.strategy).declaration.max_devices
    if most is not None and config.trainer.devices > most:
        ways = descriptions("strategy").items()
        wider = [name for name, one in ways if one.declared.get("max_devices") is None]
        raise CompositionError(
            f"strategy={_name(config.strategy)} has room for {most} device, and "
            f"trainer.devices={config.trainer.devices}.\n"
            f"  Strategies here for several devices: {', '.join(wider) or 'none'}.\n"
            "  trainer.devices=1 gives the same curve: the global batch is cut into micro-batches."
        )


def _check_precision(config: ExperimentConfig) -> None:
    able = plugin_of(config.strategy).declaration.precisions
    asked = config.trainer.precision
    if able is not None and asked not in able:
        raise CompositionError(
            f"strategy={_name(config.strategy)} cannot compute in trainer.precision={asked}.\n"
            f"  It can in {', '.join(sorted(able))}."
        )


def longest(config: ArchitectureConfig) -> int | None:
    """The maximum number of positions of the network; None = no limit."""
    limits = [
        part.max_positions
        for name in children(type(config))
        if isinstance(part := vars(config)[name], PositionConfig) and part.max_positions
    ]
    return min(limits, default=None)
