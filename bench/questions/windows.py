"""Squared error and SSIM of two planes inside several borders, under the windows people used.

| window       | weights                          | where                                          |
|--------------|----------------------------------|------------------------------------------------|
| `gaussian`   | 11x11 Gaussian of sigma 1.5      | only where it lies inside the cropped plane    |
| `reflected`  | the same                         | everywhere; mirrored about the outermost pixel |
| `replicated` | the same                         | everywhere; the outermost pixel repeated       |
| `zeros`      | the same                         | everywhere; zeros outside                      |
| `uniform`    | 7x7, unbiased (co)variances      | only where it lies inside the cropped plane    |

`gaussian` is that of `bench.metrics`. All borders come from one filtering: a crop changes only
where the padded ones look past its edge, so the few rows and columns along the edges of every crop
are filtered too, and stand behind those of the whole plane in one larger map. What belongs to a
crop is then chosen by a product with a matrix of zeros and ones on either side.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOWS = ("gaussian", "reflected", "replicated", "zeros", "uniform")
_PADDED = WINDOWS[1:4]
_SIDE, _SIGMA, _UNIFORM = 11, 1.5, 7
_HALF = _SIDE // 2
_BLOCK = 16  # filtered samples a matrix product


def squared_errors(x: Floats, y: Floats, borders: tuple[int, ...]) -> Floats:
    """The mean squared difference of two planes (h, w) inside each border."""
    difference = np.square(x - y)
    rows, columns = (_chosen(size, size, borders) for size in x.shape)
    return _means(difference, rows, columns)


def similarities(
    x: Floats, y: Floats, borders: tuple[int, ...], wanted: tuple[tuple[str, float], ...]
) -> Floats:
    """SSIM of two planes (h, w): (len(wanted), len(borders)).

    `wanted` names windows, each with the range L that makes C1 = (0.01 L)^2 and C2 = (0.03 L)^2.
    A border must leave at least 11 pixels a side.
    """
    results = np.empty((len(wanted), len(borders)))
    planes = np.stack([x - y, x + y])
    moments = np.concatenate([planes, np.square(planes)])
    height, width = x.shape
    for names, filtered in (
        (("gaussian", *_PADDED), _gaussian),
        (("uniform",), _uniform),
    ):
        chosen = [index for index, (name, _) in enumerate(wanted) if name in names]
        if not chosen:
            continue
        parts, side = filtered(moments, borders, any(wanted[i][0] in _PADDED for i in chosen))
        inner = np.s_[: height - side + 1, : width - side + 1]
        maps: dict[tuple[bool, float], Floats] = {}
        for index in chosen:
            window, level = wanted[index]
            padded = window in _PADDED
            if (padded, level) not in maps:
                maps[padded, level] = _map(parts if padded else parts[:, *inner], level)
            ends = [_places(size, side, borders, window) for size in x.shape]
            results[index] = _means(maps[padded, level], *ends)
    return results


def _gaussian(moments: Floats, borders: tuple[int, ...], padded: bool) -> tuple[Floats, int]:
    """The parts of SSIM at each place of the larger map, and the side of the window."""
    taps = np.exp(-0.5 * ((np.arange(_SIDE) - _HALF) / _SIGMA) ** 2)
    taps /= taps.sum()
    down = _down(moments, taps)
    if not padded:
        return _parts(_across(down, taps), 1.0), _SIDE
    edges = _edges(borders, taps.tobytes())
    reach, (height, width) = edges.shape[1], moments.shape[1:]
    last = edges[:, ::-1]
    ends = [edges @ moments[:, :reach], last @ moments[:, height - reach :]]
    tall = np.concatenate([down, *ends], axis=1)
    ends = [tall[..., :reach] @ edges.T, tall[..., width - reach :] @ last.T]
    return _parts(np.concatenate([_across(tall, taps), *ends], axis=2), 1.0), _SIDE


def _uniform(moments: Floats, _: tuple[int, ...], __: bool) -> tuple[Floats, int]:
    """The same for the uniform window, with unbiased variances."""
    taps = np.full(_UNIFORM, 1 / _UNIFORM)
    unbiased = _UNIFORM**2 / (_UNIFORM**2 - 1)
    return _parts(_across(_down(moments, taps), taps), unbiased), _UNIFORM


def _parts(filtered: Floats, unbiased: float) -> Floats:
    """v, u, q and m of bench.metrics, still without C1 and C2."""
    d, s, d2, s2 = filtered
    q, m = np.square(d), np.square(s)
    return np.stack([unbiased * (d2 - q), unbiased * (s2 - m), q, m])


def _map(parts: Floats, level: float) -> Floats:
    """SSIM at each place, for planes of range `level`."""
    v, u, q, m = parts
    m, u = m + 2 * (0.01 * level) ** 2, u + 2 * (0.03 * level) ** 2
    result: Floats = (m - q) * (u - v)
    m += q
    u += v
    m *= u
    result /= m
    return result


def _means(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """The mean over the rows and columns that each border chooses."""
    sums = np.einsum("br,rb->b", rows, values @ columns.T)
    result: Floats = sums / (rows.sum(axis=1) * columns.sum(axis=1))
    return result


def _chosen(count: int, length: int, borders: tuple[int, ...]) -> Floats:
    """(borders, length): ones where the first `count` places lie inside each border."""
    chosen = np.zeros((len(borders), length))
    for index, border in enumerate(borders):
        chosen[index, border : count - border] = 1
    return chosen


@functools.lru_cache(maxsize=64)
def _places(size: int, side: int, borders: tuple[int, ...], window: str) -> Floats:
    """(borders, places): ones where a window's map of each crop stands in the larger map."""
    inner, edge = size - side + 1, len(_PADDED) * len(borders) * _HALF
    if window not in _PADDED:
        return _chosen(inner, inner, borders)
    chosen = _chosen(inner, inner + 2 * edge, borders)
    for index in range(len(borders)):
        first = inner + (_PADDED.index(window) * len(borders) + index) * _HALF
        for begin in (first, first + edge):
            chosen[index, begin : begin + _HALF] = 1
    return chosen


@functools.lru_cache(maxsize=8)
def _edges(borders: tuple[int, ...], taps: bytes) -> Floats:
    """The filter at the first 5 samples of each crop under each padding, as a matrix."""
    reach = max(borders) + 2 * _HALF
    matrix = np.zeros((len(_PADDED), len(borders), _HALF, reach))
    for padding, name in enumerate(_PADDED):
        for index, border in enumerate(borders):
            for place in range(_HALF):
                for tap, weight in enumerate(np.frombuffer(taps)):
                    source = place + tap - _HALF
                    if source < 0 and name == "zeros":
                        continue
                    if source < 0:
                        source = -source if name == "reflected" else 0
                    matrix[padding, index, place, border + source] += weight
    return matrix.reshape(-1, reach)


class _Band(NamedTuple):
    matrix: Floats
    halo: int


@functools.lru_cache(maxsize=4)
def _band(taps: bytes) -> _Band:
    weights = np.frombuffer(taps)
    matrix = np.zeros((_BLOCK + len(weights) - 1, _BLOCK))
    for column in range(_BLOCK):
        matrix[column : column + len(weights), column] = weights
    return _Band(matrix, len(weights) - 1)


def _starts(count: int) -> list[int]:
    """Where blocks begin that cover `count` samples; the last ends with them."""
    return [*range(0, count - _BLOCK, _BLOCK), max(count - _BLOCK, 0)]


def _down(planes: Floats, taps: Floats) -> Floats:
    """The planes (k, h, w) filtered along their columns, where the taps lie inside."""
    matrix, halo = _band(taps.tobytes())
    count = planes.shape[1] - halo
    result = np.empty((len(planes), count, planes.shape[2]))
    for start in _starts(count):
        size = min(_BLOCK, count)
        part = planes[:, start : start + size + halo]
        result[:, start : start + size] = matrix[: size + halo, :size].T @ part
    return result


def _across(planes: Floats, taps: Floats) -> Floats:
    """The planes (k, h, w) filtered along their rows, where the taps lie inside."""
    matrix, halo = _band(taps.tobytes())
    count = planes.shape[2] - halo
    result = np.empty((*planes.shape[:2], count))
    for start in _starts(count):
        size = min(_BLOCK, count)
        part = planes[..., start : start + size + halo]
        result[..., start : start + size] = part @ matrix[: size + halo, :size]
    return result
