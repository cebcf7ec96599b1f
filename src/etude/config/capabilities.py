"""What a network can do, by its parts, and whether mixers, streams and generators fit it."""

from etude.capability import ATTENTION, Capability
from etude.config.config_file import children, nodes
from etude.config.plugin_source import base_option, descriptions, presets
from etude.config.registry import plugin_of
from etude.config.schema.blocks import MixerConfig, PositionConfig, StreamConfig
from etude.config.schema.decoding import DecodingConfig, GeneratorConfig
from etude.config.schema.plugins import ArchitectureConfig, PluginConfig
from etude.errors import CompositionError


def name_of(config: PluginConfig) -> str:
    """The name of the option that a config belongs to."""
    return plugin_of(config).address.rpartition("/")[2]


def capabilities_of(architecture: ArchitectureConfig) -> frozenset[Capability]:
    """The capabilities of a network: those that its architecture and all its mixers provide."""
    return plugin_of(architecture).declaration.provides & mixer_capabilities(architecture)


def mixer_capabilities(config: PluginConfig) -> frozenset[Capability]:
    """The capabilities that all mixers in `config` provide, including those of a hybrid."""
    provides = frozenset(Capability)
    for _, node in nodes(config):
        if isinstance(node, MixerConfig):
            provides &= plugin_of(node).declaration.provides
    return provides


def has_windows(architecture: ArchitectureConfig) -> bool:
    """Whether a mixer of the network applies the attention window of its context."""
    parts = (node for _, node in nodes(architecture) if isinstance(node, MixerConfig))
    return any(plugin_of(part).declaration.windowed for part in parts)


def max_positions_of(config: ArchitectureConfig) -> int | None:
    """The maximum number of positions of the network; None = no limit."""
    limits = [
        part.max_positions
        for name in children(type(config))
        if isinstance(part := vars(config)[name], PositionConfig) and part.max_positions
    ]
    return min(limits, default=None)


def architectures_for(needs: frozenset[str]) -> list[str]:
    """The architectures that provide all of `needs`, each with the presets based on it."""
    able: list[str] = []
    for stack, one in descriptions("architecture").items():
        if needs <= one.names("provides"):
            names = presets_of(stack)
            able.append(f"{stack} ({', '.join(names)})" if names else stack)
    return able


def presets_of(stack: str) -> list[str]:
    """The presets based on an architecture."""
    return [name for name, file in presets("architecture").items() if base_option(file) == stack]


def check_mixer(architecture: ArchitectureConfig, name: str) -> None:
    """Raises CompositionError if a mixer lacks what its architecture and stream need."""
    needs = plugin_of(architecture).declaration.provides & ATTENTION
    _refuse_mixers(architecture, f"architecture={name}", needs)
    for _, node in nodes(architecture):
        if isinstance(node, StreamConfig):
            needs = plugin_of(node).declaration.needs
            _refuse_mixers(architecture, f"architecture/stream={name_of(node)}", needs)


def _refuse_mixers(
    architecture: ArchitectureConfig, user: str, needs: frozenset[Capability]
) -> None:
    for path, node in nodes(architecture):
        if isinstance(node, MixerConfig) and not needs <= plugin_of(node).declaration.provides:
            raise CompositionError(
                f"{user} cannot use architecture/{path.replace('.', '/')}={name_of(node)}.\n"
                f"  {needs_line(needs)}\n  {options_with('architecture/mixer', needs)}"
            )


def check_generator(
    generator: GeneratorConfig,
    decoding: DecodingConfig,
    architecture: ArchitectureConfig,
    name: str,
) -> None:
    """Raises CompositionError if a generator cannot use the network or the decoding."""
    lacking = plugin_of(generator).declaration.needs - capabilities_of(architecture)
    if lacking:
        families = architectures_for(frozenset(need.name for need in lacking))
        raise CompositionError(
            f"generator={name_of(generator)} cannot use architecture={name}.\n"
            f"  {needs_line(lacking)}\n"
            f"  Architectures that provide it: {', '.join(families) or 'none'}."
        )
    try:
        generator.check(decoding)
    except ValueError as error:
        raise CompositionError(
            f"generator={name_of(generator)} cannot use decoding={name_of(decoding)}: {error}."
        ) from error


def needs_line(needs: frozenset[Capability]) -> str:
    """A line for errors that explains missing capabilities."""
    return f"It needs {' and '.join(sorted(f'{need.name} ({need.value})' for need in needs))}."


def options_with(group: str, needs: frozenset[Capability]) -> str:
    """A line for errors with the options of a group that provide all of `needs`."""
    names = {need.name for need in needs}
    able = [n for n, one in descriptions(group).items() if names <= one.names("provides")]
    return f"Options of {group} that provide it: {', '.join(able) or 'none'}."
