"""Calibrated rounding: on the grid that rounding to nearest keeps, and closer to what the matrix gave."""

import pytest
import torch

from breakfix.export.rounding import compensated, to_grid

BLOCK = 32


def matrix(seed, rows=48, columns=4 * BLOCK):
    """Weights, and inputs of which some columns go together, as a model's do."""
    torch.manual_seed(seed)
    inputs = torch.randn(600, columns) @ (torch.eye(columns) + 0.3 * torch.randn(columns, columns))
    return torch.randn(rows, columns) * torch.rand(rows, 1), inputs


def hessian(inputs):
    return inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_to_nearest_changes_nothing_of_it(seed):
    weights, inputs = matrix(seed)
    rounded = compensated(weights, hessian(inputs), BLOCK)
    assert torch.equal(to_grid(rounded, BLOCK), rounded)
    blocks = rounded.reshape(-1, BLOCK)
    assert all(len(row.unique()) <= 16 for row in blocks)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_matrix_gives_changes_less_than_by_rounding_to_nearest(seed):
    weights, inputs = matrix(seed)
    both = compensated(weights, hessian(inputs), BLOCK), to_grid(weights, BLOCK)
    lost = [(inputs @ (weights - rounded).T).square().mean() for rounded in both]
    assert lost[0] < 0.7 * lost[1]


def test_weights_that_lie_on_the_grid_stay():
    weights = torch.arange(-8, 8).repeat(3, 4).float() / 4
    assert torch.equal(to_grid(weights, BLOCK), weights)
    assert torch.equal(compensated(weights, torch.eye(64), BLOCK), weights)


def test_inputs_that_are_always_zero_and_weights_that_are_do_no_harm():
    weights, inputs = matrix(0)
    weights[:, :BLOCK] = 0
    inputs[:, 5] = 0
    rounded = compensated(weights, hessian(inputs), BLOCK)
    assert torch.isfinite(rounded).all()
    assert not rounded[:, :BLOCK].any() and not to_grid(weights, BLOCK)[:, :BLOCK].any()
    assert torch.isfinite(compensated(weights, torch.zeros(128, 128), BLOCK)).all()
