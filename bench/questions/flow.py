"""Motion between two frames: where each pixel goes, what lies there, and whether it is still seen.

The flow u of frame t to frame t+1 says that what frame t shows at x lies at x + u(x) in frame t+1.
It is estimated by TV-L1 (Zach, Pock, Bischof 2007), the one of scikit-image, on luma at half size,
and enlarged bilinearly. Learned flow may be more exact, but needs weights to be fetched.

Chosen by measurement, on two sides: mean end-point error in pixels where the motion is known
(`pan`, `zoom` and `rotation` of `bench.sample`; frames of Vid4 moved by 2 to 9 whole pixels, and by
half pixels), and seconds for one flow of 720x576 on one thread of a CPU that others used too:

    flow                                       sample  whole   half   seconds
    Lucas-Kanade, 10 warps                       0.12   0.03   0.20       2.2
    Lucas-Kanade, 4 warps                        0.12   0.03   0.17       0.7
    TV-L1, 5 warps (scikit-image's defaults)     0.09   0.01   0.10       3.6
    TV-L1, 3 warps, median filter                0.08   0.01   0.09       2.9
    TV-L1, 3 warps, median filter, half size     0.11   0.07   0.11       0.5

Lucas-Kanade loses motions of 23 pixels (1.0 pixel of error, TV-L1 0.04). Half size is what makes
three flows for each of a clip's frames bearable. Of frames with less than some 200 pixels a side,
few coarser ones are made, so that motions of more than a few pixels are lost there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DOWNSCALE = 2
# Of scikit-image's function; `attachment` is meant for values in [0, 1].
TVL1 = {
    "attachment": 15.0,
    "tightness": 0.3,
    "num_warp": 3,
    "num_iter": 10,
    "tol": 1e-4,
    "prefilter": True,
}
# A pixel is seen in both frames where |u + v|^2 <= RELATIVE (|u|^2 + |v|^2) + ABSOLUTE (Sundaram,
# Brox, Keutzer 2010).
RELATIVE, ABSOLUTE = 0.01, 0.5

Floats = NDArray[np.floating]
Flow = NDArray[np.float32]  # (2, h, w): down and right, in pixels
Mask = NDArray[np.bool_]


def estimate(reference: Floats, moving: Floats) -> Flow:
    """The flow of one luma plane (h, w) in 8-bit levels to another of its size, (2, h, w).

    The same planes give the same flow, bit for bit, on any number of threads.
    """
    from skimage.registration import optical_flow_tvl1
    from skimage.transform import pyramid_reduce, resize

    small = [
        pyramid_reduce(  # type: ignore[no-untyped-call]
            plane.astype(np.float32) / 255, DOWNSCALE, channel_axis=None
        )
        for plane in (reference, moving)
    ]
    found = optical_flow_tvl1(*small, **TVL1)  # type: ignore[no-untyped-call]
    flow = np.empty((2, *reference.shape), np.float32)
    for axis, component in enumerate(found):
        larger = resize(  # type: ignore[no-untyped-call]
            component, reference.shape, order=1, mode="edge", anti_aliasing=False
        )
        flow[axis] = larger * (reference.shape[axis] / component.shape[axis])
    return flow


def warp(plane: Floats, flow: Flow) -> NDArray[np.float64]:
    """What a plane (h, w) of the later frame shows where the flow leads: the earlier frame anew.

    Bilinear, as in Lai et al. 2018; beyond its sides the plane goes on as it ends.
    """
    from scipy import ndimage

    places = _places(flow)
    warped: NDArray[np.float64] = ndimage.map_coordinates(
        plane.astype(np.float64), places, order=1, mode="nearest"
    )
    return warped


def visible(forward: Flow, backward: Flow) -> Mask:
    """Which pixels of a frame are seen in the other one too, (h, w).

    `forward` leads to the other frame, `backward` from there to here. A pixel counts where it stays
    inside the frame and the way there and back ends close to its beginning, which it does not for
    one that something else covers there:

        |u(x) + v(x + u(x))|^2 <= 0.01 (|u(x)|^2 + |v(x + u(x))|^2) + 0.5
    """
    back = np.stack([warp(component, forward) for component in backward])
    moved = np.square(forward).sum(axis=0) + np.square(back).sum(axis=0)
    returned: Mask = np.square(forward + back).sum(axis=0) <= RELATIVE * moved + ABSOLUTE
    for place, size in zip(_places(forward), forward.shape[1:], strict=True):
        returned &= (place >= 0) & (place <= size - 1)
    return returned


def _places(flow: Flow) -> NDArray[np.float64]:
    return flow.astype(np.float64) + np.indices(flow.shape[1:], np.float64)
