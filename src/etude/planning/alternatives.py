"""Rejects a run that exceeds memory and suggests settings that fit, each verified by a plan."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from etude.config.plugin_files import options
from etude.config.registry import load
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.errors import ConfigError
from etude.planning.forecast import Forecast, forecast, memory, peak_memory
from etude.training.assemble import refuse_unbuildable

GIB = 2**30
DEVICES = (2, 4, 8)
N_SUGGESTED = 4
"""Maximum number of suggested settings, the mildest ones; each needs its own plan."""
MAX_HALVINGS = 5
"""Maximum number of times that the number of layers is halved to find a network that fits."""


def refuse_too_large(config: ExperimentConfig, corpus: Corpus, plan: Forecast) -> None:
    """Raises ConfigError for a run that exceeds the memory of this machine."""
    available = memory(config.trainer.accelerator)
    needed = peak_memory(plan, config.trainer.accelerator)
    if needed > available:
        fitting = list(islice(_fitting_changes(config, corpus, available), N_SUGGESTED))
        named = "\n".join(f"    {text}: {size / GIB:.1f} GiB" for text, size in fitting)
        raise ConfigError(
            f"This run needs {needed / GIB:.1f} GiB of memory at its peak, "
            f"but only {available / GIB:.1f} GiB are available.\n"
            + (f"  Settings that fit:\n{named}" if named else "  None of the tried settings fits.")
        )


def _fitting_changes(
    config: ExperimentConfig, corpus: Corpus, available: int
) -> Iterator[tuple[str, int]]:
    """Yields the changes that make a run fit, with the memory it needs then."""
    for overrides, changed in _candidates(config):
        try:
            refuse_unbuildable(changed.architecture, changed.adapter)
            size = peak_memory(forecast(changed, corpus), changed.trainer.accelerator)
        except ConfigError:
            continue
        if size <= available:
            yield overrides, size


def _candidates(config: ExperimentConfig) -> Iterator[tuple[str, ExperimentConfig]]:
    """Yields changes in order of preference: those that keep the training result come first."""
    trainer = config.trainer
    small = replace(config, trainer=replace(trainer, micro_batch=1))
    low = replace(config, trainer=replace(trainer, precision="bf16-true"))
    yield "trainer.micro_batch=1", small
    yield "trainer.precision=bf16-true", low
    both = replace(small, trainer=replace(small.trainer, precision="bf16-true"))
    yield "trainer.micro_batch=1 trainer.precision=bf16-true", both
    yield from _with_adapter(small)
    yield from _on_more_devices(small)
    for halved in range(1, MAX_HALVINGS + 1):
        layers = config.architecture.n_layers // 2**halved
        if layers >= 1:
            smaller = replace(small, architecture=replace(config.architecture, n_layers=layers))
            yield f"trainer.micro_batch=1 architecture.n_layers={layers}", smaller


def _with_adapter(config: ExperimentConfig) -> Iterator[tuple[str, ExperimentConfig]]:
    """Yields the run with each adapter that can be merged, if there is a base to adapt."""
    if config.init_from is not None and not config.adapter:
        for name in options("adapter"):
            loaded = load(f"adapter/{name}")
            if loaded.declaration.merges:
                adapted = replace(config, adapter={name: loaded.config()})
                yield f"trainer.micro_batch=1 adapter={name}", adapted


def _on_more_devices(config: ExperimentConfig) -> Iterator[tuple[str, ExperimentConfig]]:
    """Yields the run on more devices, with each strategy that shards."""
    for name in options("strategy"):
        loaded = load(f"strategy/{name}")
        for devices in DEVICES if loaded.declaration.shards else ():
            if config.trainer.global_batch % devices == 0:
                trainer = replace(config.trainer, devices=devices)
                overrides = f"trainer.micro_batch=1 strategy={name} trainer.devices={devices}"
                yield overrides, replace(config, trainer=trainer, strategy=loaded.config())
