"""Reads and writes models: étude's run folders, and the folders of Hugging Face and PEFT."""

from etude.formats.checkpoint import checkpoints
from etude.formats.hugging_face import (
    GELU_NAMES,
    GELUS,
    Fields,
    Layout,
    LayoutConfig,
    Stacked,
    is_made_of,
    meaning,
    plain_heads,
    plugin_config,
    refuse_others,
)
from etude.formats.model import Model, read_model
from etude.formats.peft import Joined, LinearForm, PeftForm, PeftPart, Theirs
from etude.formats.weight_map import WeightMapping, mappings
