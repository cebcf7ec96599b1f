"""Focal loss of a preference pair, in a private module that plugins of this group can share.

Its name contains the plugin's, since all packages share one namespace.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sketch_loss(margin: Float[Tensor, " pair"], gamma: float) -> Float[Tensor, " pair"]:
    """-(1 - p)^gamma log p, in nats, where p = sigmoid(margin)."""
    return -((-margin).sigmoid() ** gamma) * F.logsigmoid(margin)
