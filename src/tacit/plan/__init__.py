"""The plan: everything that a run is, as one frozen, checked and hashed value; read from TOML and written to it.

`Plan` is pure data. `read` and `settled` make one from text and options and report every problem at once; `build`
turns its parts into tacit's objects. The same plan is meant to run in one process or on a network.
"""

from tacit.plan.plan import VERSION, Part, Plan, RunOptions, Stop
from tacit.plan.reader import Given, given_in, read, settled, settled_part
from tacit.plan.section import Conflict, Own, Section
from tacit.plan.settings import setting
from tacit.plan.toml import written

__all__ = [
    "VERSION",
    "Conflict",
    "Given",
    "Own",
    "Part",
    "Plan",
    "RunOptions",
    "Section",
    "Stop",
    "given_in",
    "read",
    "setting",
    "settled",
    "settled_part",
    "written",
]
