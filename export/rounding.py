"""Rounding weights to int4 so that what a matrix gives changes little, not each weight by itself (GPTQ, Frantar et al. 2022).

What comes out are float weights that lie on the int4 grid of onnxruntime's blockwise rounding: each block's largest weight is
-8 times its scale, and every other one -8 to 7 times. So rounding them to nearest, as the model builder does, gives the same
integers and the same scales. It knows matrices and no model.
"""

import torch
from torch import Tensor

_LEAST, _MOST = -8, 7
_SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8)
"""What a scale is tried at, of the one that the largest weight asks for: smaller ones cut it off and serve the others."""


def to_grid(weights: Tensor, block: int) -> Tensor:
    """Return weights, shape (rows, columns), rounded to nearest in blocks of a row, as the model builder rounds them."""
    cut = weights.reshape(-1, block)
    scale, largest = _scales(cut, torch.ones(block), (1.0,))
    return _rounded(cut, scale, largest).reshape(weights.shape)


def compensated(weights: Tensor, hessian: Tensor, block: int, damping: float = 0.01) -> Tensor:
    """Return weights on the int4 grid; what rounding one costs is made good by those to its right that are not yet rounded.

    `weights`: shape (rows, columns). `hessian`: mean outer product of the matrix' inputs, shape (columns, columns). `damping`:
    what is added to its diagonal, as a share of the diagonal's mean.
    """
    left = weights.clone()
    upper = _inverse_factor(hessian, damping)
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[1], block):
        end = start + block
        part, lost = left[:, start:end].clone(), torch.empty_like(left[:, start:end])
        weight = 1 / upper.diagonal()[start:end].square()
        scale, largest = _scales(part, weight, _SHRUNK)
        for at in range(block):
            column = part[:, at : at + 1]
            found = (column / torch.where(scale == 0, 1.0, scale)).round().clamp(_LEAST, _MOST)
            rounded[:, start + at : start + at + 1] = torch.where(largest == at, float(_LEAST), found) * scale
            error = (column - rounded[:, start + at : start + at + 1]) / upper[start + at, start + at]
            part[:, at:] -= error * upper[start + at, start + at : end]
            lost[:, at : at + 1] = error
        left[:, end:] -= lost @ upper[start:end, end:]
    return rounded


def _inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """Return the upper Cholesky factor of the damped inverse. An input that is always zero costs nothing whatever it meets."""
    least = max(damping * float(hessian.diagonal().mean()), 1e-9)
    damped = hessian.double() + least * torch.eye(len(hessian), dtype=torch.double)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True).float()


def _scales(cut: Tensor, weight: Tensor, shrunk: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return the scale of each block that rounds it best by these weights, and which of its columns is the largest."""
    largest = cut.abs().argmax(1, keepdim=True)
    full = cut.gather(1, largest) / _LEAST
    tried = torch.stack([full * share for share in shrunk])
    costs = torch.stack([((_rounded(cut, scale, largest) - cut).square() * weight).sum(1, keepdim=True) for scale in tried])
    return tried.gather(0, costs.argmin(0, keepdim=True))[0], largest


def _rounded(cut: Tensor, scale: Tensor, largest: Tensor) -> Tensor:
    """A block of zeros has scale 0 and stays one."""
    found = (cut / torch.where(scale == 0, 1.0, scale)).round().clamp(_LEAST, _MOST)
    return found.scatter(1, largest, float(_LEAST)) * scale
