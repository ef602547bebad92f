"""Why a client is set aside, in one line: what its training raised, or what is wrong with its report."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from traceback import FrameSummary, extract_tb

import torch
from torch import Tensor

from tacit.errors import DataError

LONGEST = 300
"""Characters of an error that are told: a reason goes into the history and into a warning."""
SMALL = 1e8
"""No update below this norm is called exploded."""
_NOT_THE_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")


def of_error(error: Exception) -> str:
    """What was raised while a client was trained, and the innermost line of the user's own code in which it was."""
    if isinstance(error, DataError):
        return one_line(error)
    frame = _users_frame(error)
    where = f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})" if frame else ""
    return f"its training raised {type(error).__name__}: {one_line(error)}{where}"


def of_report(update: Tensor, loss: Tensor, moved: float) -> str:
    """What is wrong with a report that is not sound.

    Args:
        update: the client's, as its message has it.
        loss: its training loss.
        moved: the norm of what its local steps changed; infinite where they left something absurd.
    """
    norm = moved if isfinite(moved) else float(torch.linalg.vector_norm(update.double()))
    what = f"its update exploded (its norm is {norm:.2g})"
    if not bool(torch.isfinite(loss).all()):
        what = "its training loss is not finite"
    elif not bool(torch.isfinite(update).all()):
        what = "its update is not finite"
    elif norm < SMALL:
        what = "its buffers or its memory exploded"
    return f"{what}: look for extreme values in its data, or take a smaller learning rate"


def hidden(error: Exception) -> str:
    """Of an error whose text may hold what is to stay with the client."""
    return f"its training raised {type(error).__name__}, whose text stays with the client: it may hold data"


def out_of_range(range: float) -> str:
    """Of a report that is to stay secret: nothing of what is in it."""
    return (
        f"its report is not finite, or leaves the range from -{range:g} to {range:g}: look for extreme values in its "
        "data, take a smaller learning rate, or state a larger range"
    )


def one_line(error: Exception) -> str:
    """An error's text in one line, not too long."""
    text = " ".join(str(error).split()) or "no message"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _users_frame(error: Exception) -> FrameSummary | None:
    """The innermost frame that is neither torch's nor tacit's."""
    frames = (f for f in reversed(extract_tb(error.__traceback__)) if not f.filename.startswith(_NOT_THE_USERS))
    return next(frames, None)
