"""Muon: momentum whose matrices are made orthogonal before they are added, for the weights between layers;
AdamW for all others. Networks learn from far fewer pictures with it.

Formulas: Jordan and others, "Muon: an optimizer for hidden layers in neural networks" (2024); the size of
the steps: Liu and others, "Muon is scalable for LLM training" (2025), so that AdamW's learning rates fit,
but for their factor of 0.2, which is `MOVE` here.
"""

import torch

from .common import is_quick_in_halves

# Of a polynomial that brings all singular values near 1 within a few steps.
A, B, C, ROUNDS = 3.4445, -4.7750, 2.0315, 5
MOMENTUM = 0.95
# Mean size of the numbers of a step, as a part of the rate.
MOVE = 0.7


def orthogonal(matrix):
    """About U V' of a matrix U S V'."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x.bfloat16() if is_quick_in_halves() else x
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return (x.T if is_tall else x).float()


class Muon(torch.optim.Optimizer):
    """Steps for weights of two and more dimensions; all but the first are taken as one. Each process of the
    team makes a part of the matrices orthogonal."""

    def __init__(self, weights, lr, weight_decay, team):
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})
        self.team = team

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight, direction in zip(weights, self.directions(weights), strict=True):
                rate = group["lr"] * MOVE * max(direction.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(direction.view_as(weight), alpha=rate)

    def directions(self, weights):
        """Where each of the weights goes, as matrices."""
        found = []
        for index, weight in enumerate(weights):
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            mean = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            # Nesterov's look ahead.
            ahead = weight.grad.lerp(mean, MOMENTUM).flatten(1)
            is_mine = index % self.team.size == self.team.rank
            found.append(orthogonal(ahead) if is_mine else torch.zeros_like(ahead))
        self.team.add(found)
        return found


class Both:
    """Muon for the named weights that lie between layers, AdamW for the others, as one optimiser."""

    def __init__(self, named, lr, betas, weight_decay, is_between, team):
        named = list(named)
        inner = [value for name, value in named if is_between(name, value)]
        outer = [value for name, value in named if not is_between(name, value)]
        self.parts = (
            Muon(inner, lr, weight_decay, team),
            torch.optim.AdamW(outer, lr, betas=betas, weight_decay=weight_decay, fused=True),
        )

    @property
    def param_groups(self):
        return [group for part in self.parts for group in part.param_groups]

    def step(self):
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none=True):
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self):
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, saved):
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(state)
