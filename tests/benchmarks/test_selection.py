"""The benchmark of selection: statistics by hand, its cases, that it goes on where it was, and what the page says."""

import json
from dataclasses import replace
from math import exp, inf, log, sqrt

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import selection, selection_clock, selection_figures, selection_grounds, selection_trials
from benchmarks.selection_figures import Figure, Reader, interval, time_to
from benchmarks.selection_parts import PARTS, cases
from benchmarks.selection_trials import Case, Outcome, Scale
from tacit.fleet import WaitForAll

RESULT = selection.FOLDER / "selection.json"
TINY = Scale(small=20)


def outcome(accuracy, hours=None, **columns) -> Outcome:
    base = Outcome(
        [*map(float, hours or range(1, len(accuracy) + 1))], accuracy, [0.1] * 10, 0.2, 0.3, 0.0, {}, "", 1.0
    )
    return replace(base, **columns)


@pytest.fixture
def pictures(monkeypatch):
    """In place of MNIST."""

    def drawn(count):
        rng = np.random.default_rng(count)
        sets = [(rng.normal(size=(n, 1, 28, 28)).astype(np.float32), np.arange(n) % 10) for n in (count, 50)]
        return sets[0], sets[1]

    monkeypatch.setattr(selection_grounds, "images", drawn)
    selection_grounds.make.cache_clear()
    yield
    selection_grounds.make.cache_clear()


def test_the_target_is_reached_by_a_mean_of_three_evaluations():
    run = outcome([0.1, 0.9, 0.2, 0.5, 0.8, 0.9], hours=[1, 2, 4, 8, 16, 32])
    assert time_to(run, 0.5) == 8.0
    assert time_to(run, 0.7) == 32.0
    assert time_to(run, 0.8) is None


def test_ratios_have_geometric_means_and_t_intervals_of_their_logarithms():
    mean, low, high = interval([2.0, 8.0], ratio=True)
    half = 12.706204736432095 * log(2)  # the t quantile of one degree of freedom times sd(log) / sqrt(2)
    assert (mean, low, high) == pytest.approx((4.0, exp(log(4) - half), exp(log(4) + half)))
    mean, low, high = interval([1.0, 2.0, 3.0], ratio=False)
    assert (mean, high - mean) == pytest.approx((2.0, 4.302652729911275 / sqrt(3)))
    assert mean - low == pytest.approx(high - mean)


def test_a_goal_is_missed_where_a_seed_never_came_to_the_target():
    assert Figure("p", "w", "x", [5.0, 6.0], "ratio", goal=4.0).met
    assert not Figure("p", "w", "x", [5.0, None], "ratio", goal=4.0).met
    assert not Figure("p", "w", "x", [3.0, 4.0], "ratio", goal=4.0).met
    assert Figure("p", "w", "x", [3.0, 4.0], "ratio").met is None
    assert Figure("p", "w", "x", [None, None], "ratio", goal=4.0).met is False


def test_no_loss_means_that_the_interval_reaches_zero():
    assert Figure("p", "w", "pp", [-0.2, 0.1, -0.1], goal=0.0, tolerant=True).met
    assert not Figure("p", "w", "pp", [-0.2, -0.21, -0.19], goal=0.0, tolerant=True).met
    assert not Figure("p", "w", "pp", [-0.2, 0.1, -0.1], goal=0.0).met


def test_speed_ups_are_paired_by_seed_and_each_seed_has_its_own_target():
    slow, fast = Case("mnist", "wait"), Case("mnist", "partial")
    found = {
        (slow, 0): outcome([0.5, 0.5, 0.5, 1.0, 1.0, 1.0], hours=[10, 20, 30, 40, 50, 60]),
        (fast, 0): outcome([0.5, 1.0, 1.0, 1.0]),
        (slow, 1): outcome([0.5, 0.5, 0.5, 0.5]),
        (fast, 1): outcome([0.4, 0.4, 0.4, 0.4]),
    }
    read = Reader(found, [0, 1])
    assert read.targets(fast) == pytest.approx([0.95, 0.475])
    assert read.speedup(slow, fast) == [15.0, None]
    assert read.gain(fast, slow) == pytest.approx([100 * (3.5 / 4 - 4.0 / 5), -10.0])


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_runs_and_none_of_them_twice(part):
    planned = cases(part)
    assert planned and len(set(planned)) == len(planned)
    assert len({case.name for case in planned}) == len(planned)
    assert all(selection_figures.reference(case) in planned for case in planned if part in ("closing", "guided"))


def test_slow_devices_hold_the_high_digits_and_keep_their_tenths(pictures):
    made = selection_grounds.make("slow-digits", 0, 50)
    fleet = selection_trials.fleet_of(Case("slow-digits"), made, 0)
    labels = np.array([float(made.population[name][1].double().mean()) for name in made.population.ids])
    assert (np.diff(labels[np.argsort(fleet.seconds)]) >= 0).all()
    assert (np.diff(fleet.tier[np.argsort(fleet.seconds)]) >= 0).all()
    assert np.bincount(fleet.tier).tolist() == [5] * 10


def test_rounds_that_close_with_the_first_reports_ask_for_more():
    for who in ("uniform", "oort", "power-of-choice", "quota"):
        asked = [selection_trials.selection_of(Case("mnist", name, who), 100) for name in ("first", "partial")]
        most = [rule.sampling(1000).cap or rule.cohort for rule in asked]
        assert most == [130, 100]
    assert selection_trials.closing_of("first", 100).count == 100
    assert selection_trials.closing_of("wait", 100) == WaitForAll()


def test_the_clock_is_held_against_the_very_same_training():
    runs = [
        selection_clock.federation("synthetic", 3, Scale(), timed).run(4, progress=False) for timed in (False, True)
    ]
    assert runs[0].history["loss"].tolist() == runs[1].history["loss"].tolist()
    assert runs[1].facts["fleet"]["virtual_hours"] > 0 and runs[0].facts["fleet"] is None
    found = selection_clock.turns(2, 2, Scale(), "synthetic")
    assert len(found.added()) == len(found.added(cpu=True)) == 2


def test_a_run_that_was_cut_off_goes_on_and_is_not_mixed_with_another(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(selection, "run", lambda case, seed, scale: made.append((case, seed)) or outcome([0.5, 0.6]))
    planned = [Case("mnist", "wait"), Case("mnist", "partial")]
    selection.Book(tmp_path / "a.json", TINY).measure(planned[:1], 2)
    selection.Book(tmp_path / "a.json", TINY).measure(planned, 2)
    assert sorted(made, key=str) == sorted(((case, seed) for case in planned for seed in (0, 1)), key=str)
    assert selection.Book(tmp_path / "a.json", TINY).found == {key: outcome([0.5, 0.6]) for key in made}
    with pytest.raises(SystemExit, match="move it away"):
        selection.Book(tmp_path / "a.json", Scale())


def test_a_quick_run_trains_and_writes_what_it_found(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "FOLDER", tmp_path)
    monkeypatch.setattr(selection, "TIMED", ("mnist",))
    done = CliRunner().invoke(selection.app, ["--quick", "--parts", "fair,clock", "--seeds", "1", "--out", "some"])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "some-quick.json").read_text())
    assert {figure["part"] for figure in content["figures"]} == {"fair", "clock"}
    assert all(figure["met"] is None for figure in content["figures"])
    assert all(sum(row["outcome"]["by_decile"]) == pytest.approx(1, abs=1e-3) for row in content["runs"])
    assert all(row["outcome"]["hours"][-1] < inf for row in content["runs"])
    assert not (selection.PICTURES / "some-quick.svg").exists()


def test_tables_are_replaced_where_they_are_marked_and_nothing_else_is():
    page = "# Title\n\n<!-- fair -->\n\n| old |\n|---|\n| 1 |\n\nText.\n\n<!-- clock -->\n\n| old |\n\nEnd.\n"
    figures = [Figure("fair", "what", "x", [2.0, 2.0], "ratio", goal=1.0), Figure("none", "other", "pp", [1.0])]
    once = selection.refreshed(page, figures)
    assert "| what | 2 x | 2 .. 2 | at least 1 x | reached |\n\nText.\n\n<!-- clock -->\n\n| old |\n\nEnd.\n" in once
    assert once.startswith("# Title\n\n<!-- fair -->\n\n| |") and "other" not in once
    assert selection.refreshed(once, figures) == once
    assert "Text.\n" in selection.refreshed("<!-- fair -->\n\nText.\n", figures)


def test_the_page_shows_the_figures_that_were_measured():
    text, figures = selection.PAGE.read_text(encoding="utf-8"), selection.recorded(RESULT)
    assert {figure.part for figure in figures} == {*PARTS, "clock"}
    assert all(f"<!-- {part} -->" in text for part in (*PARTS, "clock"))
    assert selection.refreshed(text, figures) == text


def test_the_recorded_figures_follow_from_the_recorded_runs():
    content = json.loads(RESULT.read_text())
    book = selection.Book(RESULT, Scale())
    seeds = sorted({seed for _, seed in book.found})
    assert len(seeds) >= 5 and content["small"] == 1
    reader = Reader(book.found, seeds)
    figures = [figure for part in PARTS.values() for figure in part(reader)] + selection.clock_figures(book.clock)
    assert selection_figures.lines(figures) == selection_figures.lines(selection.recorded(RESULT))
