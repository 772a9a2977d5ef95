"""Whether two methods differ by more than the choice of a data set's clips and frames explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_DRAWS = 2000
_SEED = 20261120


def interval(differences: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The interval that holds 95 % of the bootstrap's means of the clips' mean differences.

    `differences` has for each clip the scores of its frames under one method less those under the
    other. Each draw takes as many clips as there are, with replacement, and for each of them as
    many of its frames as it has, again with replacement. Draws come from one seed, so that the
    same scores always give the same interval.
    """
    rng = np.random.default_rng(_SEED)
    count = len(differences)
    drawn = rng.integers(count, size=(_DRAWS, count), dtype=np.min_scalar_type(count))
    # Where each clip was drawn, by one sort: looking for each would take the square of the clips,
    # and narrow integers are sorted faster.
    places = np.argsort(drawn, axis=None, kind="stable") // count
    ends = np.cumsum(np.bincount(drawn.ravel(), minlength=count))
    totals = np.zeros(_DRAWS)
    for values, start, end in zip(differences, [0, *ends], ends, strict=False):
        frames = rng.integers(len(values), size=(end - start, len(values)))
        means = values[frames].mean(axis=1)
        totals += np.bincount(places[start:end], weights=means, minlength=_DRAWS)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(totals / count, (tail, 1 - tail))
    return float(low), float(high)


def separable(differences: Sequence[NDArray[np.float64]]) -> bool:
    """Whether the interval leaves out 0; clips without frames do not count.

    >>> separable([np.array([0.1, 0.2]), np.array([0.3])])
    True
    >>> separable([np.array([-0.1, 0.2, -0.3]), np.array([0.2, -0.1])])
    False
    """
    held = [values for values in differences if len(values)]
    if not held:
        return False
    low, high = interval(held)
    return low > 0 or high < 0
