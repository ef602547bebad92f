"""The benchmark of secure aggregation: what it times is real, and what it could not measure has no figure."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import secure, secure_grid, secure_server, secure_sessions
from benchmarks.secure import Figure
from tacit.aggregation.secure.client import Step


def test_the_bare_loop_adds_whole_streams():
    bare = secure_sessions.Bare(1001)
    before = bare._target.copy()
    bare.run(3)
    changed = bare._target != before
    assert changed[0] and changed[-1] and changed.mean() > 0.99


def test_everybody_in_a_timed_session_is_timed():
    held = secure_sessions.session(secure_sessions.config(6, 40, signed=True), 6, lost=1)
    secure_sessions.whole(held)
    assert len(held.client_cpu()) == 5
    assert all(seconds > 0 for seconds in held.client_cpu(("share",)))
    assert {"take_masked", "take_confirm", "close"} <= set(held.server.seconds)


def test_a_wrong_sum_is_no_measurement():
    names = ["0000000001", "0000000002"]
    right = sum(secure_sessions.vector(name, 7) for name in names)
    secure_sessions.require_sum(right, names)
    with pytest.raises(RuntimeError, match="not that of its vectors"):
        secure_sessions.require_sum(right + (np.arange(7) == 6), names)


def test_the_server_of_another_process_unmasks_and_says_what_it_took():
    found = secure_server.measured(20, 500, dropout=0.1, corrupt=0.1, turns=2)
    assert [turn["masks"] for turn in found["turns"]] == [18 + 2 * 18] * 2  # of survivors, and of the lost with each
    assert all(turn["1"]["seconds"] > 0 and turn["bare"]["cpu"] > 0 for turn in found["turns"])
    assert found["memory"] > 0 and found["server_cpu"]["close"] > 0
    assert len(found["client"]) == 18 and found["neighbours"] == 19


def test_what_the_server_refuses_is_an_error_here():
    settings = secure_sessions.config(20, 500)
    held = secure_sessions.session(settings, 20, lost=0)
    held.lost = dict.fromkeys(list(held.clients)[:15], Step.SHARE)
    remote = held.server = secure_server.Remote(settings, 1)
    try:
        with pytest.raises(Exception, match="sharing secrets"):
            held.begin()
    finally:
        remote.end()


def test_a_goal_is_met_by_the_median():
    assert Figure("cost", "x", [1.0, 1.3, 9.0], goal=1.4).met
    assert not Figure("cost", "x", [1.0, 1.5, 9.0], goal=1.4).met
    assert Figure("gain", "x", [20.0, 31.0, 40.0], goal=30, more=True).met
    assert Figure("gain", "x", goal=30, more=True, failure="not here").met is False
    assert Figure("cost", "x", [1.0]).met is None


def test_a_peer_that_fails_keeps_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(secure, "_flower", lambda: (lambda **_: {"failure": "not here"}, lambda: None))
    rows = list(secure.whole_round(secure.Scale(full=5, short=10, rounds=2, peer=2)))
    assert [row.failure for row in rows if "Flower" in row.what] == ["not here"]
    assert all(len(row.values) == 2 for row in rows if row.what.startswith("tacit"))


def test_a_run_keeps_the_parts_that_were_not_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(secure, "FOLDER", tmp_path)
    monkeypatch.setitem(secure.PARTS, "client", lambda scale: iter([Figure("cost", "s", [2.0], goal=1.0)]))
    (tmp_path / "some-quick.json").write_text(json.dumps({"parts": {"server": {"figures": []}}}))
    done = CliRunner().invoke(secure.app, ["--quick", "--parts", "client,grid", "--out", "some"])
    assert done.exit_code == 0, done.output
    parts = json.loads((tmp_path / "some-quick.json").read_text())["parts"]
    assert set(parts) == {"server", "client", "grid"}
    assert parts["client"]["figures"][0]["values"] == [2.0]
    assert all(point["measured"] for point in parts["grid"]["points"])
    assert "<svg" in (tmp_path / "some-quick.svg").read_text()


def test_long_sessions_are_estimated_and_marked(monkeypatch):
    monkeypatch.setattr(secure_grid, "LONGEST", 0.0)
    found = secure_grid.points(quick=True)
    assert not any(point.measured for point in found)
    assert all((point.client, point.server) == point.estimated for point in found)
    assert secure_grid.agreement(found) == {"client": [], "server": []}
