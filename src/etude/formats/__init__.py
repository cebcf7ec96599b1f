"""Reads and writes models: étude's run folders, and the folders of Hugging Face and PEFT."""

from etude.formats.checkpoint import checkpoints
from etude.formats.hugging_face import (
    GELU_NAMES,
    GELUS,
    AnyStack,
    Fields,
    Layout,
    has_default_head_dim,
    has_parts,
    plugin_config,
    require_values,
    translate,
)
from etude.formats.model import Model, read_model
from etude.formats.peft import (
    HFLinear,
    LinearFormat,
    PeftFiles,
    PeftFormat,
    PeftPart,
    TransformersView,
)
from etude.formats.score_head import TanhScore
from etude.formats.weight_map import WeightMapping, mappings
