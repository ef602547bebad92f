"""What a report shows of the devices of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

import tacit
from tacit import fleet
from tacit.record import plots
from tacit.record.devices import page
from tacit.record.rows import row_problems
from tacit.record.run import Run
from tacit.record.wording import span
from tests.record.test_report import text_of, words_of

CLIENTS = 12


@pytest.fixture(scope="module")
def timed() -> Run:
    """A run on devices of which some fail."""
    clients = {k: (torch.randn(8, 3), torch.randn(8, 1)) for k in range(CLIENTS)}
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    federation = tacit.Federation(
        task,
        tacit.Population.from_arrays(clients),
        tacit.FedAvg(tacit.SGD(lr=0.1)),
        fleet=fleet.lognormal(CLIENTS, seed=1, dropout=0.3, tiers=3),
        minimum=0.1,
        engine="eager",
        workers=1,
    )
    return federation.run(4, test=lambda model: {"accuracy": 0.5}, progress=False)


def curve(*points: tuple[float, float]) -> list[tuple[float, float]]:
    return list(points)


def drawn(monkeypatch: pytest.MonkeyPatch, plot: Any, *arguments: Any) -> Any:
    """The axes that a plot was drawn on."""
    kept: list[Any] = []
    original = plots.figure

    def figure(draw: Any, **size: Any) -> str:
        return original(lambda axes: (kept.append(axes), draw(axes)), **size)

    monkeypatch.setattr(plots, "figure", figure)
    plot(*arguments)
    return kept[0]


def test_the_report_has_the_figures_and_plots_of_the_devices(timed: Run, tmp_path: Path) -> None:
    text = text_of(timed.report(tmp_path / "report.html").read_text())
    told = timed.facts["fleet"]
    for words in ("On the devices", "PartialWork: margin 2.0", f"{told['wasted_fraction']:.1%}", "dropped"):
        assert words in text
    for title in ("Against virtual time", "Who took part", "time went", "did not come"):
        assert title in text
    assert "rehearsal" not in text


def test_a_run_without_devices_has_no_such_section(timed: Run) -> None:
    assert page(Run(timed.tensors, timed.rows, timed.facts | {"fleet": None}), "test", None) == ""


def test_what_is_hidden_is_left_out_and_a_rehearsal_is_called_one(timed: Run) -> None:
    hidden = ("virtual_hours", "asked", "late", "dropped", "left", "unavailable", "given_up")
    rows = [row | dict.fromkeys(hidden) for row in timed.rows]
    told = timed.facts["fleet"] | {"rehearsed": True}
    text = page(Run(timed.tensors, rows, timed.facts | {"fleet": told}), "test", None)
    assert "rehearsal" in text and "Who took part" in text
    assert "Against virtual time" not in text and "did not come" not in text


def test_time_to_accuracy_draws_the_mean_and_the_band_of_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = curve((0, 0.1), (1, 0.3), (2, 0.5)), curve((0, 0.3), (2, 0.7), (3, 0.9))
    axes = drawn(monkeypatch, plots.time_to_accuracy, {"all": [one, other], "few": [one]}, 0.6, "HR@10")
    mean = {line.get_label(): line for line in axes.lines}["all"]
    assert mean.get_xdata().tolist() == [0, 1, 2]
    assert mean.get_ydata().tolist() == pytest.approx([0.2, 0.3, 0.6])
    ends = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == (pytest.approx(0.1), pytest.approx(0.7))
    words = words_of(plots.time_to_accuracy({"all": [one, other]}, 0.6, "HR@10"))
    assert {"virtual hours", "HR@10", "all", "target 0.6"} <= set(words)


def test_hours_stand_on_a_logarithmic_axis_where_policies_differ_widely(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = curve((0.1, 0.1), (1, 0.5)), curve((1, 0.1), (40, 0.5))
    assert drawn(monkeypatch, plots.time_to_accuracy, {"a": [quick], "b": [slow]}, 0.5).get_xscale() == "log"
    assert drawn(monkeypatch, plots.time_to_accuracy, {"a": [quick], "b": [quick]}, 0.5).get_xscale() == "linear"


def test_seeds_that_never_overlap_in_time_are_still_drawn() -> None:
    assert "<svg" in plots.time_to_accuracy({"all": [curve((0, 0.1)), curve((5, 0.2), (6, 0.3))]}, 0.5)


def test_where_time_went_is_what_was_used_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, plots.device_hours, {"download": 1.0, "compute": 5.0}, {"compute": 2.0})
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(6.0)
    assert [bar.get_width() for bar in axes.containers[1]] == [2.0, 0.0]


def test_failures_are_stacked_by_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    history = pandas.DataFrame({"round": [1, 2], "late": [1, 0], "dropped": [2, 3], "left": [None, None]})
    axes = drawn(monkeypatch, plots.failures, history)
    assert [bar.get_y() + bar.get_height() for bar in axes.containers[-1]] == [3, 3]
    assert [container.get_label() for container in axes.containers] == ["late", "dropped"]
    assert plots.failures(history[["round"]]) is None


def test_a_metric_is_drawn_against_the_hours_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"virtual_hours": [1.0, 2.0, None], "test_a": [0.1, None, 0.3], "test_b": [0.2, 0.3, 0.4]}
    history = pandas.DataFrame(rows)
    (line,) = drawn(monkeypatch, plots.metric_by_time, history, "test", "b").lines
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([1.0, 2.0], [0.2, 0.3])
    assert plots.metric_by_time(history.assign(virtual_hours=None)) is None


def test_rows_of_a_file_whose_hours_are_no_numbers_are_refused(timed: Run) -> None:
    assert row_problems(timed.rows) == []
    assert row_problems([timed.rows[0] | {"virtual_hours": "soon"}]) == ["round 1 has no number for virtual_hours"]


@pytest.mark.parametrize(("hours", "said"), [(0.001, "3.6 s"), (0.5, "30 min"), (30.0, "30.0 h"), (0.0, "0 s")])
def test_times_are_said_in_a_readable_unit(hours: float, said: str) -> None:
    assert span(hours) == said
