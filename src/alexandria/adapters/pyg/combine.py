"""Several trainings as one: vectors whose angles are those of all trainings together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def combine(trainings: Sequence[Tensor]) -> Tensor:
    """Return vectors whose dot products come nearest to the mean cosine over `trainings`.

    Each training turns the space its own way, so vectors cannot be averaged, but cosines can. The mean cosine of two
    nodes is the dot product of their unit vectors set end to end, divided by the number of trainings; the first
    principal directions of that long matrix, not centred, keep as much of it as the dimension allows (Eckart & Young,
    1936).

    Args:
        trainings: At least one; all of shape (N, d), float32, on the CPU, with the same rows zero.

    Returns:
        Shape (N, d), float32; zero exactly where the first training is.
    """
    if len(trainings) == 1:
        return trainings[0]
    dimension = trainings[0].shape[1]
    long = torch.cat([torch.nn.functional.normalize(training, dim=1) for training in trainings], dim=1)
    gram = torch.mm(long.t(), long).to(torch.float64)
    _, directions = torch.linalg.eigh(gram)
    combined = torch.mm(long, directions[:, -dimension:].flip(1).to(torch.float32))
    lost = trainings[0].any(dim=1) & ~combined.any(dim=1)
    combined[lost] = trainings[0][lost]  # a node at a right angle to all directions still needs a vector
    return combined
