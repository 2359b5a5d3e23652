"""Smooth random fields: a few coarse random cells, enlarged. The raw material of all textures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]
"""Values on a raster, HxW, mostly float32."""


def smooth(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> Field:
    """One octave: standard normal values on ``cells`` (rows, columns), enlarged to HxW."""
    rows, columns = max(2, round(cells[0])), max(2, round(cells[1]))
    coarse = rng.standard_normal((min(rows, shape[0]), min(columns, shape[1])), dtype=np.float32)
    if coarse.shape == shape:
        return coarse
    big = Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(big, dtype=np.float32)


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: tuple[float, float],
    octaves: int = 4,
    gain: float = 0.5,
) -> Field:
    """Octaves of :func:`smooth`, each of twice the cells and ``gain`` times the amplitude, HxW."""
    total = np.zeros(shape, dtype=np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        factor = 2**octave
        total += amplitude * smooth(rng, shape, (cells[0] * factor, cells[1] * factor))
        amplitude *= gain
    return total
