"""InfoNCE over candidates, and the rank of the positive among them.

van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, equation 4.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def info_nce(
    queries: Float[Tensor, "query dim"],
    candidates: Float[Tensor, "candidate dim"],
    positive: Int[Tensor, " query"],
    temperature: float,
) -> Float[Tensor, " query"]:
    """-log of the share of each query's positive in the softmax over all candidates, in nats."""
    return F.cross_entropy(queries @ candidates.T / temperature, positive, reduction="none")


def ranks(
    queries: Float[Tensor, "query dim"],
    candidates: Float[Tensor, "candidate dim"],
    positive: Int[Tensor, " query"],
) -> Float[Tensor, " query"]:
    """The place of each query's positive among the candidates, from 1; a tie counts against it."""
    scores = queries @ candidates.T
    return (scores >= scores.gather(1, positive[:, None])).sum(1).double()
