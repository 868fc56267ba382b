"""Learn a relation from a few example pairs, beside vectors that stay as they are.

In: vectors of the examples' sources and targets, and of items that are likely no targets.
Out: what each number of a source's vector is multiplied with from now on.
This room knows tensors only: no items, no stores.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

SHARP = 10.0  # log-odds a cosine is worth before there are examples
PENALTY = 2e-4  # of what is learned
AGAINST = 50  # non-targets an example
ROUNDS = 60


def gains(
    sources: Float[Tensor, "examples dim"],
    targets: Float[Tensor, "examples dim"],
    others: Float[Tensor, "others dim"],
) -> Float[Tensor, " dim"]:
    """Return weights of the dimensions under which examples score above others, 1 where unsure.

    Logistic regression on the products of the two ends' numbers, whose prior is the cosine: so few
    examples change little. The same examples give the same weights.
    """
    chance = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(others), (len(sources), AGAINST), generator=chance)
    right = (sources * targets).double()
    wrong = (sources.unsqueeze(1) * others[drawn]).double().flatten(0, 1)
    weights = torch.full((right.shape[1],), SHARP, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        fits = softplus(-(right @ weights + bias)).mean() + softplus(wrong @ weights + bias).mean()
        total = len(right) * fits + PENALTY * (weights - SHARP).square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)  # pyright: ignore
    return (weights.detach() / SHARP).float()
