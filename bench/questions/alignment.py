"""Which GT frame each SR frame shows, and how far it is shifted: both found at once.

Frames are compared by their correlation between 1/64 and 1/6 cycles a pixel, where SR of any
method agrees with GT and motion shows; brightness, contrast and the order of the channels do not
matter there. A shift is a phase, so any fraction of a pixel is as easy as a whole one. Order and
shift are sought together because either alone can pass for the other where the camera pans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]  # for each SR frame its GT frame, -1 where it has none

REACH = 3.5  # pixels, of the shifts that are sought
NOTICED = 0.2  # pixels: a smaller shift is none
_LARGEST = 256  # pixels a side that are looked at
_HIGHEST, _COARSE, _LOWEST = 1 / 6, 1 / 20, 1 / 64  # cycles a pixel
_STEP = 0.5  # pixels between the shifts that are tried first
# What an order, a shift and a frame without a place must be worth, in dB of what they leave
# unexplained beyond what each frame's best place and shift leave.
_ORDER_PRICE, _SHIFT_PRICE, _UNPLACED_PRICE = 0.08, 0.08, 1.0
_HARDLY = 0.002  # of correlation: a better place by less is none


class Box(NamedTuple):
    """Where frames are looked at."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def within(cls, height: int, width: int) -> Box:
        """The middle of a frame."""
        rows, columns = min(height, _LARGEST), min(width, _LARGEST)
        return cls((height - rows) // 2, (width - columns) // 2, rows, columns)

    def moved(self, down: int, right: int) -> Box:
        """The box of the same size elsewhere."""
        return self._replace(top=self.top + down, left=self.left + right)


class Order(NamedTuple):
    """A guess at which GT frame each SR frame shows; `kind` says in which way it is special.

    `kind` is `named` (as the names say), `offset`, `reversed`, `text` (by name as text) or `any`.
    """

    kind: str
    places: Places


class Alignment(NamedTuple):
    """The best order and shift (down, right, in pixels); `likeness` is the mean correlation."""

    order: Order
    shift: tuple[float, float]
    likeness: float


class Spectrum:
    """One box of each frame of a clip, as the Fourier coefficients that are compared."""

    def __init__(self, frames: Iterable[Frame], box: Box) -> None:
        rows, columns = np.fft.fftfreq(box.height), np.fft.rfftfreq(box.width)
        down, right = np.abs(rows) <= _HIGHEST, columns <= _HIGHEST
        self.down, self.right = rows[down], columns[right]
        radius = np.hypot(self.down[:, None], self.right[None])
        # Photographs hold little at high frequencies: weights by frequency make up for that.
        weight = np.where((radius >= _LOWEST) & (radius <= _HIGHEST), radius, 0)
        weight *= np.where(self.right > 0, np.sqrt(2), 1)  # for the half that is not kept
        window = np.hanning(box.height + 2)[1:-1, None] * np.hanning(box.width + 2)[1:-1]
        rows_of_values = []
        for frame in frames:
            part = frame[box.top : box.top + box.height, box.left : box.left + box.width]
            grey = part.sum(axis=2, dtype=np.float32)
            whole = np.fft.rfft2(window * (grey - grey.mean()))
            values = (whole[down][:, right] * weight).ravel()
            values /= max(float(np.linalg.norm(values)), 1e-6)
            rows_of_values.append(values.astype(np.complex64))
        self.values = np.stack(rows_of_values)

    def __len__(self) -> int:
        return len(self.values)

    def phases(self, shift: tuple[float, float]) -> NDArray[np.complex64]:
        """What undoes a shift."""
        down = np.exp(2j * np.pi * shift[0] * self.down)
        right = np.exp(2j * np.pi * shift[1] * self.right)
        return np.outer(down, right).ravel().astype(np.complex64)

    def likeness(self, other: Spectrum, shift: tuple[float, float]) -> NDArray[np.float32]:
        """The correlation of every frame, moved back by `shift`, with every frame of `other`."""
        moved = self.values * self.phases(shift)
        result: NDArray[np.float32] = moved.real @ other.values.real.T
        result += moved.imag @ other.values.imag.T
        return result


def likeness(sr: Spectrum, gt: Spectrum, most: int = 5) -> float:
    """How alike two clips are under the best shift, whatever the order: 1 where they are equal."""
    return best_place(sr, gt, _grid(1.0), most)[1]


def best_place(
    sr: Spectrum, gt: Spectrum, shifts: Sequence[tuple[float, float]], most: int = 5
) -> tuple[tuple[float, float], float]:
    """The shift under which some SR frames are most like any GT frame, and how much."""
    few = Spectrum.__new__(Spectrum)
    few.down, few.right = sr.down, sr.right
    few.values = sr.values[np.unique(np.linspace(0, len(sr) - 1, most).astype(int))]
    found = [float(few.likeness(gt, shift).max(axis=1).mean()) for shift in shifts]
    best = int(np.argmax(found))
    return shifts[best], found[best]


def align(
    sr: Spectrum, gt: Spectrum, copies: Sequence[int] = (), first_numbers: Sequence[int] = (0, 1)
) -> Alignment:
    """The order and shift that explain most; simpler ones are preferred where little is gained.

    `copies` are SR frames that repeat the one before them; what they show does not count.
    """
    shifts = _grid(_STEP)
    table = np.stack([sr.likeness(gt, shift) for shift in shifts])
    least = 1 - table.max(axis=(0, 2))
    counted = np.ones(len(sr), bool)
    counted[list(copies)] = False
    found: list[tuple[float, Alignment]] = []

    def consider(order: Order, price: float) -> None:
        rows = np.flatnonzero((order.places >= 0) & counted)
        if 2 * len(rows) < min(counted.sum(), len(gt)):
            return
        means = table[:, rows, order.places[rows]].mean(axis=1)
        cross = _cross(sr, gt, rows, order.places[rows])
        shift, moved = _refined(sr, cross, shifts[int(means.argmax())])
        price += _UNPLACED_PRICE * (1 - len(rows) / counted.sum())
        for at, likeness in (((0.0, 0.0), float(cross.sum().real)), (shift, moved)):
            size = max(map(abs, at))
            if size <= REACH:
                left = (1 - likeness + _HARDLY) / (float(least[rows].mean()) + _HARDLY)
                total = 10 * np.log10(left) + price + _SHIFT_PRICE * (size > NOTICED)
                found.append((total, Alignment(order, at, likeness)))

    for order in _orders(len(sr), len(gt), copies, first_numbers):
        # Where frames are missing, none of the places that are left is more likely than another.
        free = order.kind == "named" or (len(sr) < len(gt) and order.kind == "offset")
        consider(order, 0 if free else _ORDER_PRICE)
    best = min(found, key=lambda entry: entry[0])[1]
    for index in {int(table.max(axis=2).mean(axis=1).argmax()), _nearest(shifts, best.shift)}:
        places = _each_its_best(table[index], best.order.places)
        consider(Order("any", places), 3 * _ORDER_PRICE)
    return min(found, key=lambda entry: entry[0])[1]


def likenesses(sr: Spectrum, gt: Spectrum, aligned: Alignment) -> Floats:
    """The correlation of each SR frame with the GT frame of its place; NaN where it has none."""
    places = aligned.order.places
    rows, result = np.flatnonzero(places >= 0), np.full(len(places), np.nan)
    moved = sr.values[rows] * sr.phases(aligned.shift)
    result[rows] = (moved * gt.values[places[rows]].conj()).sum(axis=1).real
    return result


def coarse_likeness(sr: Spectrum, gt: Spectrum, aligned: Alignment) -> float:
    """The median correlation up to 1/20 cycles a pixel, which even SR of a tiny LR keeps."""
    rows = np.flatnonzero(aligned.order.places >= 0)
    kept = np.hypot(sr.down[:, None], sr.right[None]).ravel() <= _COARSE
    one = (sr.values[rows] * sr.phases(aligned.shift))[:, kept]
    two = gt.values[aligned.order.places[rows]][:, kept]
    product = (one * two.conj()).sum(axis=1).real
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(np.median(product / np.maximum(size, 1e-6)))


def _each_its_best(table: NDArray[np.float32], usual: Places) -> Places:
    """Each SR frame's most similar GT frame, the usual one where that is as good."""
    places = table.argmax(axis=1)
    rows = np.arange(len(places))
    best = table[rows, places]
    kept = (usual >= 0) & (table[rows, usual] >= best - _HARDLY)
    return np.where(kept, usual, places)


def _orders(
    count: int, gt_count: int, copies: Sequence[int], first_numbers: Sequence[int]
) -> Iterator[Order]:
    index = np.arange(count)

    def checked(kind: str, places: Places) -> Order:
        return Order(kind, np.where((places >= 0) & (places < gt_count), places, -1))

    # A copy is in place of another frame, or pushes those behind it back.
    pushed = index - np.searchsorted(np.sort(np.array(copies, int)), index, side="right")
    for number, places in enumerate([index, pushed] if len(copies) else [index]):
        length = count - len(copies) * number
        if number:
            yield checked("named" if length == gt_count else "offset", places)
        else:
            yield checked("named", places)
        for offset in sorted({*range(-4, 5), gt_count - length}, key=abs):
            if offset:
                yield checked("offset", places + offset)
            yield checked("reversed", length - 1 - places + offset)
        for first in first_numbers:
            names = [str(first + i) for i in range(max(length, gt_count))]
            by_text = np.array(sorted(range(len(names)), key=names.__getitem__))
            if not np.array_equal(by_text, np.arange(len(names))):
                for order in (by_text, by_text.argsort()):
                    yield checked("text", order[places])


def _grid(step: float) -> list[tuple[float, float]]:
    end = np.floor(REACH / step) * step
    line = np.arange(-end, end + step / 2, step)
    return [(float(y), float(x)) for y in line for x in line]


def _nearest(shifts: Sequence[tuple[float, float]], shift: tuple[float, float]) -> int:
    return int(np.square(np.array(shifts) - shift).sum(axis=1).argmin())


def _cross(
    sr: Spectrum, gt: Spectrum, rows: NDArray[np.int64], places: Places
) -> NDArray[np.complex128]:
    """The mean cross-spectrum of SR frames with their GT frames."""
    products = np.einsum("if,if->f", sr.values[rows], gt.values[places].conj())
    mean: NDArray[np.complex128] = products.astype(np.complex128) / len(rows)
    return mean.reshape(len(sr.down), len(sr.right))


def _refined(
    sr: Spectrum, cross: NDArray[np.complex128], start: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    """The shift near `start` where the correlation is highest, to a hundredth of a pixel."""
    (y, x), value = start, 0.0
    for step in (0.25, 0.05, 0.01):
        line = step * np.arange(-4, 5)
        down = np.exp(2j * np.pi * (y + line)[:, None] * sr.down)
        right = np.exp(2j * np.pi * (x + line)[:, None] * sr.right)
        values = (down @ cross @ right.T).real
        i, j = np.unravel_index(int(values.argmax()), values.shape)
        y, x, value = y + line[i], x + line[j], float(values[i, j])
    return (round(float(y), 2), round(float(x), 2)), value
