"""The benchmark of private steps: contestants do the same work, and one that does not gets no figure."""

import pytest
import torch

from benchmarks import dp_sgd, own_steps
from benchmarks.dp_sgd import Row, measured
from benchmarks.private_steps import CASES


@pytest.mark.parametrize("case", ["mlp-32", "cnn-64"])
def test_private_steps_without_noise_go_where_those_by_hand_go(case):
    ends = []
    for made in (own_steps.Mapped(CASES[case], 0.0), own_steps.Own(CASES[case], 0.0, private=True)):
        made.run(2)
        ends.append(made.parameters())
    start = torch.cat([p.detach().flatten() for p in CASES[case].build().parameters()])
    assert torch.linalg.vector_norm(ends[0] - ends[1]) < dp_sgd.ALIKE * torch.linalg.vector_norm(ends[0] - start)


def test_a_contestant_that_goes_elsewhere_or_fails_gets_no_figure():
    def ask(contestant, case, do, steps=0):
        if contestant == "opacus-secure":
            return {"failure": "not here"}
        if do == "check":
            length = 2.0 if contestant == "opacus-ghost" else 1.0
            return {"norms": [length], "note": ""}
        return {"cpu": 0.01, "seconds": 0.02}

    rows = {row.contestant: row for row in measured("mlp-32", dict.fromkeys(dp_sgd.CONTESTANTS.values(), ask), 3)}
    assert rows["opacus-secure"].failure == "not here"
    assert "goes 2 and not 1" in rows["opacus-ghost"].failure
    assert all(len(row.cpu) == (0 if row.failure else 3) for row in rows.values())


def test_ratios_are_of_turns_that_followed_each_other():
    slow, fast = Row("a", "c", cpu=[2.0, 4.0, 8.0]), Row("b", "c", cpu=[1.0, 2.0, 4.0])
    assert dp_sgd.ratio(slow, fast) == "2.00 (2.00 .. 2.00)"
