"""The eigendecomposition behind ridge regression, logistic regression and principal directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def leading(product: Matrix, least: float, most: int = 0) -> tuple[Matrix, Matrix]:
    """The eigenvalues ``(r,)``, ascending, and eigenvectors ``(n, r)`` of a symmetric matrix.

    - `product`: ``(n, n)``, positive semi-definite; may be overwritten
    - `least`: eigenvalues up to this share of the largest are left out: maybe all, where that is 0
    - `most`: the number of the largest to find, which is quicker; 0 for all
    """
    from scipy.linalg import eigh

    if most:
        n = len(product)
        values, vectors = eigh(product, subset_by_index=[max(0, n - most), n - 1],
                               overwrite_a=True, check_finite=False)  # fmt: skip
    else:
        values, vectors = np.linalg.eigh(product)
    kept = values > max(values[-1], 0.0) * least
    return values[kept], vectors[:, kept]
