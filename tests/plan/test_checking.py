"""What is said of entries that do not fit: in words of a plan, at the right place, and none hidden by another."""

import pytest

from tacit.errors import UsageError
from tacit.plan import Given, read, setting
from tacit.scenarios.scenario import scenario

START = 'version = 1\nscenario = "app-recommendation"\n'


def problems(text: str, *options: str) -> list[str]:
    said = [(*setting(option), f"--set {option.partition('=')[0]}") for option in options]
    with pytest.raises(UsageError) as caught:
        read(text, scenario, settings=Given.of(said))
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


def test_a_vocabulary_that_ranks_nothing_is_a_problem_of_the_plan_in_words_of_a_plan() -> None:
    found = problems(START, "data.vocabulary=0", "data.most_examples=0", "solver.batch_size=0", "model.loss=hinge")
    assert any(p.startswith("--set data.vocabulary") and "at least 2 items" in p for p in found)
    assert sum('"none" for' in p for p in found) == 3
    assert not any("None" in p for p in found)
    assert any("there is no loss 'hinge'" in p for p in found)
    plan = read(START + "[data]\nvocabulary = 'none'\n", scenario)
    assert plan.data["vocabulary"] is None


UNKNOWN = """version = 1
scenario = "app-recomendation"
seed = -1
colour = "red"
[data]
phones = "many"
[algorithm]
tau = 1e-6
[solver]
lr = nan
batch_sise = 3
beta1 = 0.5
[selection]
cohort = 9
[stop.patience]
mode = "up"
[run]
workers = 0
"""


def test_a_misspelt_scenario_hides_no_problem_that_has_nothing_to_do_with_it() -> None:
    found = problems(UNKNOWN)
    expected = {
        2: "did you mean 'app-recommendation'?",
        3: "seed is -1",
        4: "there is no 'colour'",
        10: "lr is nan",
        11: "did you mean 'batch_size'?",
        16: "mode is 'up'",
        18: "workers is 0",
    }
    for line, words in expected.items():
        assert any(p.startswith(f"line {line}: ") and words in p for p in found), (line, found)
    lines = {int(p.split(":")[0].removeprefix("line ")) for p in found}
    assert lines == set(expected), "what only the scenario can tell is left"


@pytest.mark.parametrize("option", ["solver.lr.x=1", "solver.lr.schedule=cosin", "solver.lr.schedule=cosine"])
def test_a_bad_schedule_is_reported_with_the_option_that_gives_it(option: str) -> None:
    key = option.partition("=")[0]
    for content in (START, START + "[solver]\nlr = 0.1\n"):
        found = problems(content, option)
        assert found[0].startswith(f"--set {key}: ")
