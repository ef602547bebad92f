"""Fleets small enough for pencil and paper, and random ones for properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tacit.fleet import Availability, Deadline, FirstArrivals, Fleet, Load, PartialWork, WaitForAll


def three(**columns) -> Fleet:
    """Devices of 1, 2 and 4 seconds for an example, that move 10 bytes a second."""
    return Fleet.of([1.0, 2.0, 4.0], **({"down": 10.0, "up": 10.0, "tiers": 3} | columns))


def asked(work=10.0, step=1.0) -> Load:
    """All three: 100 bytes down, `work` examples, 50 bytes up. Reports are in after 25, 35 and 55 seconds."""
    return Load([0, 1, 2], work, down=100.0, up=50.0, step=step)


@st.composite
def fleets(draw, size: int = 8) -> Fleet:
    """Up to `size` devices that come and go within 100 seconds, fail, and have jitter."""
    many = draw(st.integers(1, size))
    column = lambda least, most: draw(st.lists(st.floats(least, most), min_size=many, max_size=many))  # noqa: E731
    cuts = np.sort(np.array(draw(st.lists(st.integers(0, 100), min_size=4 * many, max_size=4 * many))).reshape(many, 4))
    owners, on, off = np.repeat(np.arange(many), 2), cuts[:, ::2].ravel(), cuts[:, 1::2].ravel()
    real = off > on
    table = Availability.of_intervals(many, owners[real], on[real], off[real], 100)
    return Fleet.of(
        column(0.1, 5.0),
        down=column(1.0, 100.0),
        up=column(1.0, 100.0),
        jitter=column(0.0, 1.0),
        dropout=column(0.0, 0.5),
        hazard=column(0.0, 100.0),
        availability=table if draw(st.booleans()) else None,
    )


rules = st.one_of(
    st.just(WaitForAll()),
    st.builds(Deadline, st.floats(0.5, 100)),
    st.builds(FirstArrivals, st.integers(1, 8), st.floats(0.5, 100)),
    st.builds(PartialWork, st.floats(0.5, 100), margin=st.floats(0, 3)),
)
