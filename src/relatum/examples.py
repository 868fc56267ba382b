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
    examples change little. The same examples give the same weights. Vectors have a length of at
    most 1.

    >>> ends = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.6, -0.8]])  # agree in the first number
    >>> bool(torch.diff(gains(*ends, torch.tensor([[-0.6, 0.8]]))) < 0)
    True
    """
    with torch.inference_mode(False), torch.enable_grad():
        chance = torch.Generator().manual_seed(0)
        drawn = torch.randint(len(others), (len(sources), AGAINST), generator=chance)
        right = (sources * targets).double()
        wrong = (sources.unsqueeze(1) * others[drawn]).double().flatten(0, 1)
        weights = torch.full((right.shape[1],), SHARP, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        find = torch.optim.LBFGS([weights, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            find.zero_grad()
            scores, against = right @ weights + bias, wrong @ weights + bias
            fits = softplus(-scores).mean() + softplus(against).mean()
            total = len(right) * fits + PENALTY * (weights - SHARP).square().sum()
            total.backward()
            return total

        find.step(loss)  # pyright: ignore
        return (weights.detach() / SHARP).float()
