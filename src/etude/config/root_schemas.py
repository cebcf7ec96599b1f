"""The root config of each verb, and how many plugins it takes from a group."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields

from etude.config.config_file import children
from etude.config.schema.curation import BestOfConfig, DialogueConfig, LabelConfig
from etude.config.schema.evaluation import EvaluationConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.generation import GenerationConfig
from etude.config.schema.pipeline import PipelineConfig
from etude.config.schema.report import ReportConfig

ROOTS: dict[str, type] = {
    "schema": ExperimentConfig,
    "generate_schema": GenerationConfig,
    "evaluate_schema": EvaluationConfig,
    "label_schema": LabelConfig,
    "best_of_schema": BestOfConfig,
    "dialogue_schema": DialogueConfig,
    "pipeline_schema": PipelineConfig,
    "report_schema": ReportConfig,
}
"""The root schemas, by the first entry of the defaults list in a verb's YAML file."""


def multi_choice_groups() -> frozenset[str]:
    """The groups from which a config takes any number of plugins: dict fields of a root."""
    return frozenset(
        item.name
        for root in (ExperimentConfig, EvaluationConfig)
        for item in fields(root)
        if item.default is NO_DEFAULT and item.name in children(root)
    )


def optional_groups() -> frozenset[str]:
    """The groups from which an experiment takes one plugin or none."""
    none = {item.name for item in fields(ExperimentConfig) if item.default is None}
    return frozenset(children(ExperimentConfig)) & none
