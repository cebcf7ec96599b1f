"""Toy plugins, presets and a recipe, to test `config` without the shipped ones."""

from pathlib import Path
from textwrap import indent

HEADER = '''"""{summary}

Nobody 1901, https://example.org.
"""

from dataclasses import dataclass

from etude import plugin
from etude.capability import Capability
from etude.records import Pair, Preference, Prompt, Text
from etude.config.schema.plugins import *
from etude.config.schema.blocks import *
from etude.config.schema.decoding import *
'''
BODY = """

@dataclass
class Config({base}):
{fields}


@plugin({call})
def make(config: Config) -> Config:
    return config
"""
BETA = '''beta: float = 0.1
"""Pull towards the reference."""

def __post_init__(self) -> None:
    require(self.beta > 0, f"beta must be positive, got {self.beta}")'''
TOYS = {
    "objective/toy_next": (
        "ObjectiveConfig",
        "",
        "reads={Text}, needs={Capability.NEXT_TOKEN}, lr=1e-3, data='toy_text'",
    ),
    "objective/toy_both": (
        "ObjectiveConfig",
        "",
        "reads={Text}, needs={Capability.BOTH_SIDES}, lr=1e-3, data='toy_text'",
    ),
    "objective/toy_prefer": (
        "ObjectiveConfig",
        BETA,
        "reads={Preference}, needs={Capability.NEXT_TOKEN}, lr=5e-7, data='toy_preferences'",
    ),
    "objective/toy_reinforce": (
        "ObjectiveConfig",
        "",
        "reads={Prompt}, lr=1e-6, data='toy_prompts', reward='toy_length'",
    ),
    "objective/toy_denoise": (
        "ObjectiveConfig",
        "corruption: CorruptionConfig = option('toy_span')",
        "reads={Text, Pair}, lr=1e-3, data='toy_text'",
    ),
    "objective/corruption/toy_span": ("CorruptionConfig", "ratio: float = 0.15", ""),
    "objective/corruption/toy_drop": ("CorruptionConfig", "chance: float = 0.5", ""),
    "architecture/toy_stack": (
        "ArchitectureConfig",
        "mlp: MlpConfig = option('toy_gelu')\nposition: PositionConfig = option('toy_learned')",
        "provides={Capability.NEXT_TOKEN}",
    ),
    "architecture/toy_mirror": ("ArchitectureConfig", "", "provides={Capability.BOTH_SIDES}"),
    "architecture/mlp/toy_gelu": ("MlpConfig", "ratio: float = 4.0", ""),
    "architecture/mlp/toy_swiglu": ("MlpConfig", "ratio: float = 2.67", ""),
    "architecture/position/toy_learned": ("PositionConfig", "max_positions: int | None = 512", ""),
    "tokenizer/toy": ("TokenizerConfig", "", ""),
    "data/toy_text": ("DataConfig", "path: str | None = None", "yields=Text"),
    "data/toy_preferences": ("DataConfig", "path: str | None = None", "yields=Preference"),
    "data/toy_prompts": ("DataConfig", "", "yields=Prompt"),
    "optimizer/toy": ("OptimizerConfig", "betas: list[float] = field(default_factory=list)", ""),
    "schedule/toy": ("ScheduleConfig", "", ""),
    "strategy/toy": ("StrategyConfig", "", ""),
    "decoding/toy": ("DecodingConfig", "", ""),
    "generator/toy": ("GeneratorConfig", "", ""),
    "logger/toy": ("LoggerConfig", "project: str = 'etude'", ""),
    "reward/toy_length": ("RewardConfig", "target: int = 10", ""),
    "reward/toy_words": ("RewardConfig", "", ""),
}
YAML = {
    "architecture/toy_famous": (
        "# Famous 1901: a stack with another mlp.\n"
        "defaults:\n  - toy_stack\n  - override mlp: toy_swiglu\n  - _self_\n"
        "mlp:\n  ratio: 3.0\n"
    ),
    "objective/toy_gentle": (
        "# Gentle 1902: a weaker pull.\ndefaults:\n  - toy_prefer\n  - _self_\nbeta: 0.01\n"
    ),
    "objective/toy_gentler": "# A preset on a preset.\ndefaults:\n  - toy_gentle\n  - _self_\n",
    "experiment/toy_recipe": (
        "# @package _global_\n# Prefers the better one.\n"
        "defaults:\n  - override /objective: toy_prefer\n"
        "trainer:\n  max_steps: 7\n"
    ),
}
CHOICES = (
    "objective=toy_next", "architecture=toy_famous", "tokenizer=toy", "optimizer=toy",
    "schedule=toy", "strategy=toy", "decoding=toy", "generator=toy",
    "logger=[toy]",
)  # fmt: skip


def write_plugin(root: Path, address: str, base: str, fields: str, declared: str) -> Path:
    """Writes a plugin file of one config and a factory that returns it."""
    file = root / f"{address}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    body = BODY.format(
        base=base,
        fields=indent(fields or '"""Nothing to set."""', "    "),
        call=f"Config, {declared}" if declared else "Config",
    )
    imports = HEADER.format(summary=f"The toy {address}.").replace(
        "import dataclass\n", "import dataclass, field\n"
    )
    file.write_text(imports + body, encoding="utf-8")
    return file
