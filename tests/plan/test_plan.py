import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.errors import UsageError
from tacit.plan import Given, Plan, build, read, setting, settled, written
from tacit.plan.field import fields_of
from tacit.plan.parts import PARTS, part_class, part_fields
from tacit.plan.toml import lines_of
from tacit.scenarios.scenario import scenario

START = 'version = 1\nscenario = "app-recommendation"\n'


def planned(*settings: str, text: str = START) -> Plan:
    return read(text, scenario, settings=Given.of([(*setting(s), f"--set {s}") for s in settings]))


def problems(text: str = START, *settings: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        planned(*settings, text=text)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
share = st.floats(0.05, 0.4)
positive = st.floats(1e-6, 1e6, allow_nan=False)
rates = st.one_of(
    positive,
    st.builds(
        lambda lr, n: {"schedule": "cosine", "lr": lr, "rounds": n, "final": 0.001}, positive, st.integers(1, 99)
    ),
    st.builds(lambda lr: {"schedule": "warmup", "rounds": 3, "then": {"schedule": "exponential", "lr": lr}}, positive),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    generated = draw(st.booleans())
    table = {"source": draw(text), "user": draw(text), "item": draw(text), "context": draw(st.lists(text, max_size=3))}
    synthetic = {"phones": draw(st.integers(2, 500)), "zipf": draw(positive)}
    stops = {"patience": {"metric": "test_HR@10", "mode": "max", "rounds": 3}} if draw(st.booleans()) else {}
    return {
        "version": 1,
        "scenario": "app-recommendation",
        "seed": draw(st.integers(0, 2**63 - 1)),
        "rounds": draw(st.integers(1, 20)),
        "data": {**(synthetic if generated else table), "split": {"test": draw(share), "unseen": draw(share)}},
        "model": {"hidden": draw(st.lists(st.integers(1, 512), min_size=1, max_size=3))},
        "algorithm": {"name": draw(st.sampled_from(PARTS["algorithm"]))},
        "solver": {
            "name": "SGD",
            "lr": draw(rates),
            "batch_size": draw(st.one_of(st.just("none"), st.integers(1, 64))),
        },
        "stop": stops,
        "run": {"workers": draw(st.one_of(st.just("none"), st.integers(1, 8)))},
    }


@given(documents())
def test_a_written_plan_reads_back_as_the_same_plan_with_the_same_hash(document: dict[str, Any]) -> None:
    plan = settled([Given(document)], scenario)
    again = read(written(plan), scenario)
    assert again == plan
    assert again.hash == plan.hash


@given(documents())
def test_every_key_of_a_written_plan_is_found_on_its_own_line(document: dict[str, Any]) -> None:
    content = written(settled([Given(document)], scenario))
    lines, found = content.split("\n"), lines_of(content)
    assert all(lines[line - 1].startswith((path[-1], f"[{'.'.join(path)}", '"')) or "{" in lines[line - 1]
               for path, line in found.items())  # fmt: skip
    assert found[("data", "split", "test")] == 1 + next(i for i, line in enumerate(lines) if line.startswith("test = "))


def test_lines_are_found_behind_texts_comments_lists_and_inline_tables() -> None:
    content = '''a = """
fake = 1
[fake]
""" # [also.fake]
b = [ # 1
  "x]", '#',
  {c = 1, d = {e = "}"}},
]
"quoted.key" . f = 'it\\'
[ table . "sub table" ]
  g.h = 2
i = """text with quotes at its end"""""
j = 3
'''
    assert lines_of(content) == {
        ("a",): 1, ("b",): 5, ("b", "c"): 7, ("b", "d"): 7, ("b", "d", "e"): 7, ("quoted.key",): 9,
        ("quoted.key", "f"): 9, ("table",): 10, ("table", "sub table"): 10, ("table", "sub table", "g"): 11,
        ("table", "sub table", "g", "h"): 11, ("table", "sub table", "i"): 12, ("table", "sub table", "j"): 13,
    }  # fmt: skip


def test_all_problems_are_reported_at_once_each_with_its_line_and_what_to_do() -> None:
    found = problems(
        START
        + """seed = -1
rounds = "ten"
colour = 3
[data]
phones = 1
appps = 30
[data.split]
test = 2.0
[model]
hidden = "wide"
loss = "hinge"
[algorithm]
name = "FedProx"
mu = -1
[solver]
lr = {schedule = "cosin", rounds = 3}
batch_sise = 3
[selection]
name = "Unifrom"
[stop.patience]
mode = "up"
[run]
workers = 0
engine = "fusd"
"""
    )
    expected = {
        3: "seed is -1: give at least 0",
        4: 'rounds is "ten": give a whole number',
        5: "there is no 'colour' in a plan",
        7: "phones is 1: give at least 2",
        8: "there is no 'appps' in [data]: did you mean 'apps'?",
        10: "test is 2.0: give a share between 0 and 1",
        12: "wide",
        13: "there is no loss 'hinge'",
        16: "mu is -1.0: give 0 or more, a finite number",
        18: "did you mean 'cosine'?",
        19: "there is no 'batch_sise' in [solver]: did you mean 'batch_size'?",
        21: "there is no selection called \"Unifrom\": did you mean 'Uniform'?",
        23: "mode is 'up': give 'min' or 'max'",
        25: "workers is 0: give at least 1",
        26: "engine is \"fusd\": did you mean 'fused'?",
    }
    for line, words in expected.items():
        assert any(f.startswith(f"line {line}: ") and words in f for f in found), (line, words, found)


def test_what_the_method_says_about_itself_is_a_problem_of_the_plan() -> None:
    assert any(
        "mu is -1.0" in p and p.startswith("--set algorithm.mu")
        for p in problems(START, "algorithm.name=FedProx", "algorithm.mu=-1")
    )
    assert any("FedNova needs local SGD" in p for p in problems(START, "algorithm.name=FedNova", "solver.name=Adam"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("version = 2\nnew = 1", "is a plan of version 2, and this tacit reads version 1"),
        ('scenario = "app-recommendation"', "begin it with version = 1"),
        ("version = true", "version True"),
        ("version = 1\nversion = 1", "not TOML"),
        ("version = 1", "names no scenario"),
        ('version = 1\nscenario = "app-recomendation"', "did you mean 'app-recommendation'?"),
        (f"version = 1\nseed = {'9' * 5000}", "not TOML"),
        (f"version = 1\na = {'[' * 9000}", "not TOML"),
        ("# " + "x" * 2_000_000, "at most"),
    ],
)
def test_a_text_that_is_no_plan_is_refused_with_the_reason(content: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        read(content, scenario)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed = 1\nversion = 1\nversion = 2\nrounds = 3\n", "version is given twice, in lines 2 and 3"),
        ('[data]\r\nsource = 1\r\n\r\nsource = "a"', "data.source is given twice, in lines 2 and 4"),
        ("\n[data]\nsplit = {test = 1, test = 2}\n", "data.split.test is given twice, in line 3"),
        ("[data]\nsplit = 1\nsplit.test = 2\n", "data.split is given twice, in lines 2 and 3"),
    ],
)
def test_a_key_given_twice_is_named_with_both_lines(content: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"plan.toml is not TOML: {words}: keep one of them"):
        read(content, scenario, name="plan.toml")


def test_any_field_can_be_set_without_quotes() -> None:
    plan = planned(
        "algorithm.name=FedProx", "algorithm.mu=0.25", "solver.lr=1", "data.split.test=0.3", "model.loss=mse"
    )
    assert (plan.algorithm.name, plan.algorithm.fields["mu"], plan.solver.fields["lr"]) == ("FedProx", 0.25, 1.0)
    assert (plan.data["split"]["test"], plan.model["loss"]) == (0.3, "mse")
    assert planned("model.hidden=64,32").model["hidden"] == (64, 32)
    assert planned("data.source=log.csv", "data.user=u", "data.item=i", "data.context=a, b").data["context"] == (
        "a",
        "b",
    )


def test_another_class_starts_from_its_own_defaults_whatever_the_order_of_the_options() -> None:
    for options in (
        ("algorithm.server_lr=0.5", "algorithm.name=FedAdagrad"),
        ("algorithm.name=FedAdagrad", "algorithm.server_lr=0.5"),
    ):
        fields = planned(*options).algorithm.fields
        assert fields["server_lr"] == 0.5
        assert fields["tau"] == tacit.FedAdagrad(tacit.SGD(lr=1)).tau
    resolved = written(planned("algorithm.name=FedAvg", "algorithm.server_lr=0.7"))
    assert planned("algorithm.name=FedAdagrad", text=resolved).algorithm.fields["server_lr"] == 0.1


def test_a_solver_keeps_its_batches_when_it_changes_and_steps_take_the_place_of_epochs() -> None:
    before = planned().solver.fields
    adam = planned("solver.name=Adam").solver.fields
    assert (adam["batch_size"], adam["epochs"]) == (before["batch_size"], before["epochs"])
    steps = planned("solver.steps=7").solver.fields
    assert (steps["steps"], steps["epochs"]) == (7, None)


def test_schedules_become_rates_of_the_solver() -> None:
    plan = planned("solver.lr={schedule='warmup', rounds=2, then={schedule='step_decay', lr=0.4, every=5}}")
    assert build.solver(plan).lr == tacit.Warmup(tacit.StepDecay(0.4, 5), 2)
    assert "stay above 0" in problems(START, "solver.lr={schedule='cosine', lr=0.1, rounds=3}", "rounds=9")[0]
    assert "rounds is 0" in problems(START, "solver.lr={schedule='cosine', lr=0.1, rounds=0}")[0]


@pytest.mark.parametrize("section", ["algorithm", "solver", "selection", "privacy", "record_privacy"])
def test_every_class_can_be_built_from_a_plan_with_exactly_its_own_fields(section: str) -> None:
    for name in PARTS[section]:
        others = {"Everyone": (), "Poisson": ("expected",), "PowerOfChoice": ("cohort", "candidates")}
        extra = [f"selection.{field}=5" for field in others.get(name, ("cohort",)) if section == "selection"]
        extra += [f"{section}.epsilon=4", f"{section}.clip=1"] if "privacy" in section else []
        plan = planned(f"{section}.name={name}", *extra)
        part = getattr(plan, section)
        made = getattr(build, section)(plan)
        assert type(made) is part_class(name)
        assert set(part.fields) == set(part_fields(section, name))
        assert all(getattr(made, n) == build.value(v) for n, v in part.fields.items())


def test_stopping_rules_come_from_their_tables_and_none_takes_one_away() -> None:
    plan = planned("stop.patience.metric=test_HR@10", "stop.patience.mode=max", "stop.converged.norm=0.01")
    assert build.stopping(plan) == [tacit.Patience("test_HR@10", mode="max"), tacit.Converged(0.01)]
    assert build.stopping(planned("stop.patience=none", text=written(plan))) == [tacit.Converged(0.01)]
    assert "not measured" in problems(START, "stop.patience.metric=accuracy")[0]


def test_the_hash_is_of_what_determines_the_result_and_of_nothing_else() -> None:
    base = planned()
    same = ("run.workers=2", "run.engine=eager", "run.checkpoint_every=2", "run.compare=false", "run.evaluate_every=3")
    assert {planned(option).hash for option in same} == {base.hash}
    other = ("seed=1", "rounds=31", "solver.lr=0.11", "algorithm.name=FedNova", "data.phones=30", "model.hidden=8",
             "selection.name=Uniform", "stop.converged.norm=1", "data.split.test=0.25")  # fmt: skip
    hashes = [planned(option, "selection.cohort=3" if "Uniform" in option else "seed=7").hash for option in other[1:]]
    assert len({base.hash, planned("seed=1").hash, *hashes}) == len(other) + 1
    patience = ("stop.patience.metric=loss",)
    assert planned(*patience).hash != planned(*patience, "run.evaluate_every=3").hash


def test_data_known_by_their_content_are_the_same_data_wherever_they_lie() -> None:
    content = ["data.user=u", "data.item=i", f"data.sha256={'a' * 64}"]
    assert planned("data.source=here.csv", *content).hash == planned("data.source=/there/log.csv", *content).hash
    assert planned("data.source=here.csv", *content[:2]).hash != planned("data.source=there.csv", *content[:2]).hash


def test_the_hash_is_the_sha256_of_canonical_json() -> None:
    from hashlib import sha256

    plan = planned()
    canonical = json.dumps(plan.determining, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan.hash == sha256(canonical.encode()).hexdigest()
    assert "run" not in plan.determining


def test_a_plan_cannot_be_changed() -> None:
    plan = planned()
    with pytest.raises(ValueError, match="frozen"):
        plan.seed = 3
    with pytest.raises(TypeError):
        plan.data["phones"] = 3  # type: ignore[index]


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_field_takes_a_value_of_its_type_or_refuses_it_by_name(value: Any) -> None:
    from tacit.plan.field import Unfit, fitted

    for name, field in fields_of(tacit.Adam).items():
        try:
            fit = fitted(field, value)
        except Unfit as unfit:
            assert name in str(unfit)
            continue
        assert fit is None or (isinstance(fit, int | float) and not isinstance(fit, bool) and math.isfinite(fit))


@pytest.mark.parametrize("said", ["solver.lr", "=3", "a..b=1", ""])
def test_a_setting_without_a_key_or_a_value_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(UsageError, match=r"--set solver\.lr=0\.05"):
        setting(said)


def test_a_setting_of_the_generator_is_refused_for_a_table_with_the_reason() -> None:
    assert "it is about the generator" in problems(START, "data.source=log.csv", "data.phones=3")[0]
    assert "it is about a table" in problems(START, "data.user=who")[0]


CONFLICTING = (
    START
    + """
[data]
phones = 20
[selection]
name = "Uniform"
cohort = 50
[stop.patience]
metric = "accuracy"
"""
)


def test_entries_that_do_not_go_together_are_reported_beside_those_that_are_wrong_alone() -> None:
    found = problems(
        CONFLICTING + "[run]\nworkers = 0\n[solver]\nlr = 'fast'\nepochs = 0\nsteps = 0\n[colour]\nred = 1\n"
    )
    for words in (
        "line 8: the cohort is 50 of 18 clients",
        "line 10: metric is 'accuracy', which is not measured",
        "line 12: workers is 0",
        'line 14: lr is "fast"',
        "line 15: solver: epochs is 0",
        "line 16: solver: steps is 0",
        "line 17: there is no 'colour'",
    ):
        assert any(p.startswith(words) for p in found), (words, found)
    assert sum("lr is" in p for p in found) == 1


@pytest.mark.parametrize(
    "fault", ["data.phones=1", "data.split.unseen=2.0", "data.split=3", "selection.cohort=none", "data=3"]
)
def test_what_depends_on_a_faulty_entry_is_left_until_that_is_mended(fault: str) -> None:
    found = problems(CONFLICTING, fault)
    assert not any("of 18 clients" in p for p in found), found
    assert any("'accuracy', which is not measured" in p for p in found), found


@given(st.dictionaries(st.sampled_from(["seed", "rounds", "data", "selection", "stop", "solver", "run", "x"]),
                       st.one_of(st.none(), st.integers(), st.text(max_size=5), st.dictionaries(
                           st.sampled_from(["name", "lr", "phones", "cohort", "patience", "workers"]),
                           st.one_of(st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=2)))))
)  # fmt: skip
def test_a_document_of_whatever_values_is_a_plan_or_a_list_of_problems(values: dict[str, Any]) -> None:
    try:
        plan = settled([Given({"version": 1, "scenario": "app-recommendation", **values})], scenario)
    except UsageError as error:
        assert "cannot be carried out" in str(error)
    else:
        assert read(written(plan), scenario) == plan


def test_a_schedule_that_leaves_the_finite_numbers_is_a_problem_of_the_plan() -> None:
    rate = "{schedule='exponential', lr=1.0, factor=10.0}"
    assert any("gives inf in round 500" in p for p in problems(START, f"solver.lr={rate}", "rounds=500"))


def test_a_solver_with_problems_of_its_own_still_meets_those_of_the_method() -> None:
    found = problems(START, "algorithm.name=FedNova", "solver.name=Adam", "solver.beta1=2.0")
    assert any("beta1 is 2.0" in p for p in found)
    assert any("FedNova needs local SGD" in p for p in found)


def test_widths_that_are_too_large_are_answered_with_the_largest() -> None:
    assert "give widths from 1 to 65,536" in problems(START, "model.hidden=[100000000]")[0]


def test_another_version_of_the_format_is_a_problem_however_it_is_said() -> None:
    assert "version is 3: this tacit writes and reads version 1" in problems(START, "version=3")[0]


def test_a_plan_is_private_where_it_says_so_and_its_hash_then_says_it_too() -> None:
    plain, private = planned(), planned("privacy.epsilon=4")
    assert plain.privacy is None
    assert "[privacy]" not in written(plain)
    assert build.privacy(plain) is None
    assert build.privacy(private) == tacit.UserLevel(epsilon=4.0, clip=0.03)
    assert private.selection.name == "Poisson", "a selection of which the best accounting is known"
    assert private.hash != plain.hash
    again = planned(text=written(private))
    assert (again, again.hash) == (private, private.hash)
    assert planned("privacy=none", text=written(private)).privacy is None


def test_what_keeps_a_plan_from_being_private_is_said_with_everything_else() -> None:
    found = problems(
        START + "[privacy]\nepsilon = -1\nclip = 0\n", "algorithm.weights=examples", "privacy.dleta=1e-5", "rounds=0"
    )
    said = "\n".join(found)
    assert "line 4: privacy: epsilon is -1" in said
    assert "line 5: privacy: clip is 0" in said
    assert "weights is 'examples'" in said
    assert "did you mean 'delta'?" in said
    assert "rounds is 0" in said


@pytest.mark.parametrize("name", ["rounds", "seed"])
def test_what_stands_above_all_tables_is_shown_its_place(name: str) -> None:
    (said,) = problems(START, f"run.{name}=5")
    assert f"as {name} = ..., or --{name} on the command line" in said
