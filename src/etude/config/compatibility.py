"""Checks that the parts of an experiment are compatible, before anything is built."""

from collections.abc import Mapping
from importlib.util import find_spec

from etude.capability import Capability
from etude.config.capabilities import (
    architectures_for,
    capabilities_of,
    check_generator,
    check_mixer,
    max_positions_of,
    mixer_capabilities,
    name_of,
    needs_line,
    options_with,
)
from etude.config.config_file import nodes
from etude.config.plugin_files import options
from etude.config.plugin_source import descriptions
from etude.config.record_kind import kind_of, text_config
from etude.config.registry import plugin_of
from etude.config.schema.blocks import StackConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import AdapterConfig, DataConfig
from etude.errors import CompositionError, MissingExtraError
from etude.records import CONVERSIONS


def check(config: ExperimentConfig, architecture: str | None = None) -> None:
    """Raises CompositionError if the parts cannot train together.

    `architecture` is the name of the chosen option, such as a preset, if known.
    """
    check_extras(config)
    _check_records(config)
    name = architecture or name_of(config.architecture)
    check_mixer(config.architecture, name)
    if config.generator is not None:
        check_generator(config.generator, config.decoding, config.architecture, name)
    _check_needs(config, name)
    _check_environment(config)
    _check_reward(config)
    _check_rollouts(config)
    _check_length(config)
    _check_adapter(config)
    _check_schedule(config)
    _check_init(config)
    _check_ramps(config)
    _check_steps(config)
    _check_devices(config)
    _check_precision(config)
    for callback in config.callback.values():
        callback.check(config.strategy)


def check_extras(config: object) -> None:
    """Raises MissingExtraError if a plugin in `config` needs an extra that is not installed."""
    for _, node in nodes(config):
        declaration = plugin_of(node).declaration
        libraries = declaration.libraries or filter(None, (declaration.extra,))
        if missing := next((one for one in sorted(libraries) if find_spec(one) is None), ""):
            option = "=".join(plugin_of(node).address.rsplit("/", 1))
            raise MissingExtraError(
                f"{option} needs {missing}, which is not installed.\n"
                f"  Install it with pip install 'etude[{declaration.extra}]'."
            )


def _check_records(config: ExperimentConfig) -> None:
    reads = plugin_of(config.objective).declaration.reads
    yields = kind_of(config.data)
    if yields in reads or any((yields, kind) in CONVERSIONS for kind in reads):
        return
    names = frozenset(kind.__name__ for kind in reads)
    raise CompositionError(
        f"objective={name_of(config.objective)} cannot train on {_data_name(config.data)}.\n"
        f"  It reads {', '.join(sorted(readable_kinds(names)))}; this data yields "
        f"{yields.__name__ if yields else 'no declared kind'}.\n"
        f"  Compatible data: {', '.join(data_for(names)) or 'none'}."
    )


def readable_kinds(reads: frozenset[str]) -> frozenset[str]:
    """The names of the kinds of record in `reads`, or convertible to one of them."""
    return reads | {source.__name__ for source, target in CONVERSIONS if target.__name__ in reads}


def data_for(reads: frozenset[str]) -> list[str]:
    """The options of the group `data` that an objective with these `reads` can train on."""
    kinds = readable_kinds(reads)
    found = [name for name, one in descriptions("data").items() if kinds & one.names("yields")]
    records = descriptions("data/record").items()
    return found + [f"data/record={name}" for name, one in records if kinds & one.names("yields")]


def _data_name(config: DataConfig) -> str:
    """The choice of data, such as `data=jsonl with data/record=chat`."""
    names = {"data": config, "data/record": config.reader}
    chosen = [f"{group}={name_of(one)}" for group, one in names.items()]
    return chosen[0] if config.reader is config else " with ".join(chosen)


def _check_rollouts(config: ExperimentConfig) -> None:
    """Raises CompositionError if the generator is wrong for rollouts or for a sharded network."""
    generator = config.generator
    if generator is None:
        return
    name = f"generator={name_of(generator)}"
    if plugin_of(config.objective).declaration.reward is not None and not generator.samples:
        raise CompositionError(
            f"objective={name_of(config.objective)} cannot use {name}.\n"
            "  It learns from samples of the policy's own distribution, and this generator returns "
            "other completions.\n  Use the default generator, and this one in etude generate."
        )
    if plugin_of(config.strategy).declaration.shards and not generator.lockstep:
        raise CompositionError(
            f"strategy={name_of(config.strategy)} cannot use {name}: every rank holds part of "
            "the weights, and this generator runs the network a different number of times on each."
            "\n  Use the default generator, or strategy=ddp."
        )


def _check_needs(config: ExperimentConfig, architecture: str) -> None:
    needs = plugin_of(config.objective.task).declaration.needs
    lacking = needs - capabilities_of(config.architecture)
    name = name_of(config.objective)
    if not lacking:
        try:
            return config.objective.check(config.architecture)
        except ValueError as error:
            raise CompositionError(
                f"objective={name} cannot train architecture={architecture}: {error}."
            ) from error
    provides = plugin_of(config.architecture).declaration.provides
    lines = [f"architecture={architecture}.", needs_line(lacking)]
    if not lacking <= provides:
        families = architectures_for(frozenset(need.name for need in lacking))
        lines.append(f"Architectures that provide it: {', '.join(families) or 'none'}.")
    if isinstance(config.architecture, StackConfig):
        mixer = config.architecture.mixer
        if not lacking <= mixer_capabilities(mixer):
            lines[0] = f"architecture={architecture} with architecture/mixer={name_of(mixer)}."
            lines.append(options_with("architecture/mixer", lacking))
    raise CompositionError(f"objective={name} cannot train " + "\n  ".join(lines))


def _check_environment(config: ExperimentConfig) -> None:
    if config.environment is None:
        return
    name = f"environment={name_of(config.environment)}"
    objective = f"objective={name_of(config.objective)}"
    if not plugin_of(config.objective).declaration.multi_turn:
        able = [n for n, one in descriptions("objective").items() if one.declared.get("multi_turn")]
        raise CompositionError(
            f"{name} cannot be used with {objective}.\n"
            f"  {objective} does not train on the turns of a policy, without the replies.\n"
            f"  Objectives that do: {', '.join(able)}."
        )
    if Capability.SOURCE_TARGET in capabilities_of(config.architecture):
        raise CompositionError(
            f"{name} cannot be used with architecture={name_of(config.architecture)}.\n"
            "  Replies are appended to the sequence that the policy continues, and it reads its "
            "prompt separately.\n"
            f"  Architectures that continue their prompt: "
            f"{', '.join(architectures_for(frozenset({Capability.NEXT_TOKEN.name})))}."
        )


def _check_reward(config: ExperimentConfig) -> None:
    objective = name_of(config.objective)
    uses_reward = plugin_of(config.objective).declaration.reward is not None
    environment = config.environment
    is_scored = environment is not None and plugin_of(environment).declaration.scores
    if uses_reward and not config.reward and not is_scored:
        raise CompositionError(
            f"objective={objective} maximises a reward, but no reward is chosen.\n"
            f"  Choose one: reward=[...]. Rewards: {', '.join(options('reward'))}."
        )
    if config.reward and not uses_reward:
        raise CompositionError(
            f"reward=[{','.join(config.reward)}] has no effect: "
            f"objective={objective} does not use a reward.\n"
            "  Remove it, or choose an objective that uses one: "
            f"{', '.join(reward_objectives()) or 'none exists'}."
        )


def reward_objectives() -> list[str]:
    """The objectives that use a reward."""
    return [n for n, one in descriptions("objective").items() if one.declared.get("reward")]


def _check_length(config: ExperimentConfig) -> None:
    limit = max_positions_of(config.architecture)
    virtual = total_virtual_tokens(config.adapter)
    if limit and config.data.seq_len + virtual > limit:
        length = f"data.seq_len={config.data.seq_len}"
        length += f" plus {virtual} virtual tokens of the adapters" if virtual else ""
        raise CompositionError(
            f"{length} is longer than architecture.position.max_positions"
            f"={limit}.\n  Raise max_positions or lower seq_len."
        )


def total_virtual_tokens(adapter: Mapping[str, AdapterConfig]) -> int:
    """Number of virtual tokens that the adapters insert before the text."""
    return sum(config.n_virtual_tokens for config in adapter.values())


def _check_adapter(config: ExperimentConfig) -> None:
    names = ",".join(config.adapter)
    if names and config.init_from is None:
        raise CompositionError(
            f"adapter=[{names}] needs a trained network to adapt, but init_from is null.\n"
            "  Set init_from=<run folder or Hugging Face folder>, or train a new network without "
            "an adapter."
        )
    text = text_config(config.data)
    if total_virtual_tokens(config.adapter) and text is not None and text.intra_document:
        raise CompositionError(
            f"adapter=[{names}] inserts virtual tokens before a row, not before each document in "
            "it.\n  Set data.intra_document=false, or data.pack=false for one document per row."
        )


def _check_schedule(config: ExperimentConfig) -> None:
    averages = plugin_of(config.optimizer).declaration.averages
    if averages and not plugin_of(config.schedule).declaration.stays_at_peak:
        schedules = descriptions("schedule").items()
        steady = [name for name, one in schedules if one.declared.get("stays_at_peak")]
        raise CompositionError(
            f"optimizer={name_of(config.optimizer)} cannot use "
            f"schedule={name_of(config.schedule)}.\n"
            "  It evaluates an average of its steps, which replaces the decay of the learning "
            f"rate.\n  Schedules without a decay: {', '.join(steady) or 'none'}."
        )


def _check_init(config: ExperimentConfig) -> None:
    if isinstance(config.architecture, StackConfig):
        try:
            config.architecture.init.check(config.optimizer)
        except ValueError as error:
            raise CompositionError(f"architecture.init: {error}.") from error


def _check_ramps(config: ExperimentConfig) -> None:
    for name, one in config.ramp.items():
        try:
            one.check(config.trainer, config.data, config.architecture)
        except ValueError as error:
            raise CompositionError(f"ramp.{name}: {error}.") from error


def _check_steps(config: ExperimentConfig) -> None:
    if config.trainer.max_tokens is not None and text_config(config.data) is None:
        raise CompositionError(
            f"trainer.max_tokens={config.trainer.max_tokens} counts tokens of raw text, but "
            f"{_data_name(config.data)} does not yield raw text.\n"
            "  Use trainer.max_steps or trainer.max_epochs instead."
        )


def _check_devices(config: ExperimentConfig) -> None:
    limit = plugin_of(config.strategy).declaration.max_devices
    if limit is not None and config.trainer.devices > limit:
        strategies = descriptions("strategy").items()
        wider = [name for name, one in strategies if one.declared.get("max_devices") is None]
        raise CompositionError(
            f"strategy={name_of(config.strategy)} supports {limit} device, but "
            f"trainer.devices={config.trainer.devices}.\n"
            f"  Strategies for several devices: {', '.join(wider) or 'none'}. "
            "Or set trainer.devices=1: gradient accumulation gives the same loss curve."
        )


def _check_precision(config: ExperimentConfig) -> None:
    supported = plugin_of(config.strategy).declaration.precisions
    precision = config.trainer.precision
    if supported is not None and precision not in supported:
        raise CompositionError(
            f"strategy={name_of(config.strategy)} does not support trainer.precision={precision}.\n"
            f"  It supports {', '.join(sorted(supported))}."
        )
