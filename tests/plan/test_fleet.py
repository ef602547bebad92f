"""The sections [fleet] and [closing] of a plan."""

from __future__ import annotations

from math import inf

import pytest

from tacit.errors import UsageError
from tacit.fleet import Deadline, FedBuff, FirstArrivals, PartialWork, WaitForAll, phones
from tacit.plan import Given, build, read, setting, settled_part, written
from tacit.plan.parts import PARTS
from tacit.scenarios.scenario import scenario
from tests.plan.test_plan import START, planned, problems

PHONES = "fleet.name=Phones"


def given(*settings):
    return Given.of([(*setting(s), f"--set {s}") for s in settings])


def test_a_plan_without_a_fleet_is_the_plan_that_it_was_before_there_were_fleets():
    plan = planned()
    assert (plan.fleet, plan.closing) == (None, None)
    assert not {"fleet", "closing"} & set(plan.document)
    assert plan.hash == planned("fleet=none", "closing=none").hash != planned(PHONES).hash
    assert (build.fleet(plan, ["a"]), build.closing(plan)) == (None, None)


@pytest.mark.parametrize("closing", PARTS["closing"])
@pytest.mark.parametrize("fleet", ["Phones", "Lognormal", "Silos"])
def test_a_written_fleet_with_its_closing_reads_back_as_the_same(fleet, closing):
    plan = planned(f"fleet.name={fleet}", f"closing.name={closing}")
    again = read(written(plan), scenario)
    assert (again, again.hash) == (plan, plan.hash)
    assert len(build.fleet(again, ["a", "b", "c"])) == 3


def test_a_fleet_closes_rounds_with_partial_work_unless_told_otherwise():
    assert build.closing(planned(PHONES)) == PartialWork()
    assert build.closing(planned(PHONES, "closing.quantile=0.9", "closing.margin=1")) == PartialWork(
        quantile=0.9, margin=1
    )
    assert build.closing(planned(PHONES, "closing.name=Deadline", "closing.seconds=60")) == Deadline(60.0)
    assert build.closing(planned(PHONES, "closing.name=WaitForAll")) == WaitForAll()
    assert build.closing(planned(PHONES, "closing.name=FedBuff", "closing.buffer=5")) == FedBuff(buffer=5)


def test_none_is_no_limit_where_arrivals_close_a_round():
    closing = build.closing(planned(PHONES, "closing.name=FirstArrivals", "closing.count=20"))
    assert closing == FirstArrivals(20) and closing.seconds == inf
    limited = planned(PHONES, "closing.name=FirstArrivals", "closing.seconds=90")
    assert build.closing(limited) == FirstArrivals(None, 90.0)


def test_seconds_take_the_place_of_a_quantile_that_stands_in_the_file():
    text = START + '[fleet]\nname = "Silos"\n[closing]\nname = "Deadline"\nquantile = 0.7\n'
    assert build.closing(planned("closing.seconds=30", text=text)) == Deadline(30.0)


def test_the_fleet_follows_the_seed_and_the_settings_of_the_plan():
    plan = planned(PHONES, "fleet.hazard=3", "seed=4")
    clients = [str(n) for n in range(12)]
    assert build.fleet(plan, clients).digest == phones(12, 4, hazard=3.0).digest


def test_a_closing_without_a_fleet_is_a_problem_of_the_plan():
    (found,) = problems(START, "closing.quantile=0.9")
    assert found.startswith("--set closing.quantile")
    assert "PartialWork closes rounds by the time of devices, and there are none" in found
    assert "--fleet phones" in found


def test_everything_wrong_with_fleet_and_closing_is_said_at_once_in_its_place():
    found = problems(START, PHONES, "fleet.seconds=-1", "fleet.days=0", "closing.quantile=2")
    said = {text.split("=")[0].removeprefix("--set ") for text in found}
    assert said == {"fleet.seconds", "fleet.days", "closing.quantile"}
    assert "no 'sigma' in [fleet]" in problems(START, PHONES, "fleet.sigma=1")[0]
    assert any("did you mean" in text for text in problems(START, "fleet.name=Phons"))
    assert "profiles is missing" in problems(START, "fleet.name=Trace")[0]


def test_a_trace_known_by_its_content_is_the_same_wherever_it_lies(tmp_path):
    hashes = set()
    for folder in ("one", "two"):
        file = tmp_path / folder / "profiles.csv"
        file.parent.mkdir()
        file.write_text("id,ms_per_example,down_kbps,up_kbps\nanna,20,8000,1600\n")
        plan = build.settle(planned("fleet.name=Trace", f"fleet.profiles={file}"))
        assert plan.fleet is not None and plan.fleet.fields["profiles"] == str(file)
        assert read(written(plan), scenario) == plan
        hashes.add(plan.hash)
    assert len(hashes) == 1


def test_one_section_alone_is_checked_as_in_a_plan():
    part = settled_part("fleet", given(PHONES, "fleet.tiers=3"), name="a fleet")
    assert (part.name, part.fields["tiers"], part.fields["days"]) == ("Phones", 3, 7)
    with pytest.raises(UsageError) as caught:
        settled_part("fleet", given(PHONES, "fleet.tiers=0", "solver.lr=1"), name="a fleet")
    assert "tiers is 0" in str(caught.value) and "about fleet alone" in str(caught.value)


def test_twins_train_on_the_same_devices_and_a_private_one_waits_for_phones():
    plan = planned(PHONES)
    twin = scenario(plan.scenario).twin(plan, 216)
    assert (twin.private, twin.fleet) == (True, plan.fleet)
    assert build.closing(twin) == PartialWork(patience=86400.0)
    other = planned("fleet.name=Lognormal", "closing.name=Deadline")
    assert scenario(other.scenario).twin(other, 216).closing == other.closing
    private = planned(PHONES, "privacy.epsilon=4")
    plain = scenario(private.scenario).twin(private, 216)
    assert (plain.private, plain.fleet, plain.closing) == (False, private.fleet, private.closing)
