"""Networks: their parts, adapters, inputs and generation."""

from etude.network.adapter import (
    AdapterLayer,
    MergingLayer,
    innermost,
    insert,
    linear_of,
    linears,
    matching_names,
    module_slots,
)
from etude.network.autoregressive import Autoregressive
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.context import Context, Position, Scaling, attend
from etude.network.decoding import (
    NO_TOKEN,
    Ancestral,
    Decoding,
    Greedy,
    History,
    penalised,
    sample_token,
)
from etude.network.generation import (
    GeneratedToken,
    GenerationOptions,
    Generator,
    Request,
    Rows,
    StopStrings,
)
from etude.network.inputs import Inputs, Targets, pad_right
from etude.network.kv_cache import KvCache, Memory
from etude.network.network import Network
from etude.network.parts import (
    Block,
    BlockParts,
    Head,
    HeadParts,
    InOrder,
    Layers,
    Mixer,
    Parts,
    Stream,
    StreamParts,
)
from etude.network.precision import to_fp32
from etude.network.stack import (
    BranchOut,
    FeedForward,
    GatedFeedForward,
    QueryIn,
    Stack,
    StackNetwork,
    draw_normal,
    freeze_head,
    hidden_size,
)
