"""What a report shows of a run that it did not compute."""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
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


def private_run(**settings: Any) -> Run:
    clients = tacit.Population.from_arrays({k: (torch.randn(8, 3), torch.randn(8, 1)) for k in range(40)})
    clients.synthetic = True
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    solver = tacit.SGD(lr=0.1, steps=1)
    federation = tacit.Federation(task, clients, tacit.FedAvg(solver), engine="eager", workers=1, **settings)
    return federation.run(2, progress=False)


def sentences(page: str) -> list[str]:
    """The points of every list of the page."""
    return [unescape(point) for point in re.findall(r"<li>(.*?)</li>", page)]


def points_of(claim: dict[str, Any], language: str) -> list[str]:
    return [line[2:] for line in claim["text"][language].splitlines() if line.startswith("- ")]


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


def test_every_sentence_of_the_statement_is_a_point_under_its_heading_and_the_chinese_is_folded(tmp_path: Path) -> None:
    made = private_run(privacy=tacit.UserLevel(epsilon=4.0, clip=0.5))
    page = write(made, tmp_path / "report.html").read_text()
    claim = made.facts["privacy"]
    english, chinese = points_of(claim, "en"), points_of(claim, "zh")
    assert "<pre" not in page, "its lines would not wrap"
    assert sentences(page) == english + chinese
    assert "<h3>What is claimed</h3><ul><li>" in page
    assert page.index(escape(english[-1])) < page.index('<details lang="zh">') < page.index("<h3>承诺</h3>")
    assert f"<b>{claim['epsilon']:.4g}</b><span>epsilon</span>" in page


def test_a_promise_for_records_stands_beside_that_for_clients_or_alone(tmp_path: Path) -> None:
    records = tacit.RecordLevel(epsilon=3.0, clip=1.0, delta=1e-3)
    alone = private_run(record_privacy=records)
    page = write(alone, tmp_path / "report.html").read_text()
    claim = alone.facts["record_privacy"]
    assert sentences(page) == points_of(claim, "en") + points_of(claim, "zh")
    assert f"<b>{claim['epsilon']:.4g}</b><span>epsilon, for each record</span>" in page
    assert "no formal privacy" not in page and "no privacy</b>" not in page
    both = private_run(privacy=tacit.UserLevel(epsilon=4.0, clip=0.5), record_privacy=records)
    found = sentences(write(both, tmp_path / "report.html").read_text())
    for claim in (both.facts["privacy"], both.facts["record_privacy"]):
        assert set(points_of(claim, "en")) <= set(found)


LEVELS = {
    "privacy": tacit.UserLevel(epsilon=4.0, clip=0.5),
    "record_privacy": tacit.RecordLevel(epsilon=4.0, clip=0.5),
}


@pytest.mark.parametrize("level", [None, *LEVELS])
def test_the_run_s_own_row_stands_out(level: str | None, tmp_path: Path) -> None:
    made = run() if level is None else private_run(**{level: LEVELS[level]})
    rows = {"federated": {"accuracy": 0.5}, "federated_private": {"accuracy": 0.25}}
    page = write(made, tmp_path / "report.html", comparisons=[Comparison("on all", rows)]).read_text()
    own = "federated" if level is None else "federated private"
    assert re.findall(r'<tr class="mine"><td>(.*?)</td>', page) == [own]


@pytest.mark.parametrize("level", LEVELS)
def test_a_loss_that_is_hidden_is_said_to_be(level: str, tmp_path: Path) -> None:
    page = write(private_run(**{level: LEVELS[level]}), tmp_path / "report.html").read_text()
    assert "<b>hidden</b><span>training loss</span>" in page


def words_of(plot: str | None) -> list[str]:
    """The texts of a plot; matplotlib draws them as outlines and keeps each in a comment."""
    return [unescape(said) for said in re.findall(r"<!-- (.*?) -->", plot or "")]


def test_rounds_are_whole_numbers_and_a_legend_names_what_there_is() -> None:
    history = run().history
    drawn = [plots.loss_curves(history), plots.participation(history), plots.phases(history)]
    for said in map(words_of, drawn):
        ticks = said[: said.index("round")]
        assert [tick for tick in ticks if "." in tick] == []
        assert {"1", "2"} <= set(ticks)
    assert "set aside" not in words_of(drawn[1])
    assert "set aside" in words_of(plots.participation(history.assign(set_aside=[0, 1])))


def test_the_plot_of_epsilon_says_whose_it_is() -> None:
    history = run().history.assign(epsilon=[1.0, 2.0])
    assert "spent, at delta 0.001" in words_of(plots.privacy_spent(history, {"unit": "user", "delta": 1e-3}))
    records = words_of(plots.privacy_spent(history, {"unit": "record", "delta": 1e-3}))
    assert "spent by the client with the most, at delta 0.001 at most" in records
