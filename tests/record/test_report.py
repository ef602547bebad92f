"""What a report shows of a run that it did not compute."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import tacit
from tacit.record import plots
from tacit.record.report import Comparison, size, write
from tacit.record.run import Run


def run() -> Run:
    clients = {k: (torch.randn(8, 3), torch.randn(8, 1)) for k in range(3)}
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    federation = tacit.Federation(
        task, tacit.Population.from_arrays(clients), tacit.FedProx(tacit.SGD(lr=0.1), mu=0.5), engine="eager", workers=1
    )
    return federation.run(2, test=lambda model: {"accuracy": 0.5}, progress=False)


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg).*?</\\1>", " ", page, flags=re.DOTALL))


def test_how_a_run_was_made_is_said_in_words_and_what_is_empty_is_left_out(tmp_path: Path) -> None:
    page = text_of(write(run(), tmp_path / "report.html").read_text())
    assert "FedProx: mu 0.5" in page
    assert "solver SGD: lr 0.1" in page
    assert "carried out by" in page
    for internal in ("{}", "()", "None", "engine_declined", "engine declined", "stages"):
        assert internal not in page


def test_all_tables_have_their_intervals_and_the_whole_run_its_bytes(tmp_path: Path) -> None:
    made = run()
    rows = {"federated": {"accuracy": 0.5}, "other": {"accuracy": 0.25}}
    tables = [
        Comparison("who took part", rows, {"federated": (0.375, 0.625)}),
        Comparison("newcomers <1>", {"federated": {"accuracy": 0.125}}),
    ]
    page = write(made, tmp_path / "report.html", comparisons=tables, notes=["read this"]).read_text()
    assert "<td>0.375 to 0.625</td>" in page
    assert page.index("who took part") < page.index("newcomers &lt;1&gt;") < page.index("<td>0.125</td>")
    assert "read this" in page
    total = sum(row["bytes_up"] for row in made.rows)
    assert f"<b>{size(total)}</b><span>up in all" in page


def test_the_table_of_rounds_names_the_part_that_was_measured(tmp_path: Path) -> None:
    page = write(run(), tmp_path / "report.html", part="validation").read_text()
    assert "<th>validation accuracy</th>" in page
    assert "test_accuracy" not in page


def test_the_plot_of_measures_names_the_part_that_was_measured() -> None:
    drawn: list[str] = []
    history = run().history
    original = plots.figure

    def figure(draw: object, width: float = 6.4, height: float = 3.0) -> str:
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        draw(axes)  # type: ignore[operator]
        drawn.append(axes.get_ylabel())
        return original(draw, width, height)

    plots.figure = figure
    try:
        plots.metric_curves(history, "validation")
        plots.metric_curves(history)
    finally:
        plots.figure = original
    assert drawn == ["validation metric", "test metric"]
