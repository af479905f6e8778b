"""scan_order.py on the GPU: every thread looks at one pixel.

What is looked for is numbered in scan order, pixel * (samples or terms of a pixel) + its number there: the least number is the first.
"""

from numba import cuda

from nbnumba.kernel.gpu.render import FAST_PIXELS, place
from nbnumba.kernel.scan_order import first_in_pixel, latch_in_pixel, outside_in_pixel, samples_of


def find_first_sample(p, inputs, region, panels, listed, found):
    """Set ``found``[0] to the number of the first sample that is not cut; leave it alone if all are."""
    number = region.begin + cuda.grid(1)
    if number < region.end:
        slow, fast = place(panels, listed, 0, number)
        first = (slow * panels[0, FAST_PIXELS] + fast) * samples_of(inputs)
        if first < found[0]:
            sample = first_in_pixel(p, inputs, slow, fast)
            if sample >= 0:
                cuda.atomic.min(found, 0, first + sample)


def find_latch(p, inputs, region, panels, listed, found):
    """Set ``found``[0] to the number of the first term at which the latch falls; leave it alone if there is none."""
    number = region.begin + cuda.grid(1)
    if number < region.end:
        slow, fast = place(panels, listed, 0, number)
        pixel = slow * panels[0, FAST_PIXELS] + fast
        first = pixel * samples_of(inputs) * inputs.orientations.shape[1]
        if first < found[0]:
            term = latch_in_pixel(p, inputs, slow, fast, pixel)
            if term >= 0:
                cuda.atomic.min(found, 0, first + term)


def count_outside(p, inputs, region, panels, listed, count):
    """Add to ``count``[0] the number of terms for which outside() is 1."""
    number = region.begin + cuda.grid(1)
    if number < region.end:
        slow, fast = place(panels, listed, 0, number)
        cuda.atomic.add(count, 0, outside_in_pixel(p, inputs, slow, fast))
