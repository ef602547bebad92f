"""The statement in sentences: every field is said, in both languages."""

from __future__ import annotations

import copy

import pytest

from tacit.errors import DamagedFile, PrivacyError, UsageError
from tacit.privacy.event import PoissonSampled
from tacit.privacy.plan import SECURE, SERVER, SHARED, PrivacyPlan
from tacit.privacy.saying import LANGUAGES
from tacit.privacy.shares import Shares
from tacit.privacy.statement import statement
from tacit.privacy.user_level import UserLevel
from tacit.privacy.wording import FIELDS, no_privacy, text
from tacit.selection.cohort import Everyone, Poisson, Separated, Uniform


def is_said(name, *_):
    """Whether a statement of shared noise has words for a field: some belong to other noise."""
    others = ("bands", "releases", "epsilon_against_server", "epsilon_pld")
    return name not in others and NOISED[name] is not None


EARLIER = ((PoissonSampled(2.0, 0.1), 7),)


def made(selection=None, *, secure=True, exempt=False, before=EARLIER, shares=None, summed=SECURE, **settings):
    given = {"epsilon": 3.0, "clip": 0.7, "clip_quantile": 0.4}
    given |= {"loss_bound": 2.0, "most_examples": 9, "population_budget": 11.0}
    level = UserLevel(**given | settings)
    plan = PrivacyPlan.of(level, (selection or Poisson(40)).sampling(400), 12, 21, shares, summed)
    return statement(plan, 10, 1, before, exempt, secure, interval=1e-3, others=2)


FULL = made()
NOISED = made(mechanism="skellam", clip_quantile=None, loss_bound=None, shares=Shares(2.0**17, 2.0**22, 13, 80, 32))


def places(value, path=()):
    """The path of every value that is no table and no list."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path
        return
    for name, entry in inner:
        yield from places(entry, (*path, name))


def changed(path, statement=FULL):
    """The statement with another value in one place."""
    other = copy.deepcopy(statement)
    holder = other
    for name in path[:-1]:
        holder = holder[name]
    value = holder[path[-1]]
    if isinstance(value, bool):
        holder[path[-1]] = not value
    elif isinstance(value, str):
        holder[path[-1]] = value + "-other"
    else:
        holder[path[-1]] = value * 3
    return other


@pytest.mark.parametrize("language", LANGUAGES)
def test_turns_and_correlated_noise_are_said(language):
    told = made(Separated(40), mechanism="bisr", clip_quantile=None)
    said = text(told, language)
    assert told["bands"] > 1
    assert f"{told['bands']}" in said
    assert "bisr" in said
    assert str(told["sampling"]["gap"]) in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "path", [path for path in places(FULL) if path != ("honest",)], ids=lambda path: ".".join(map(str, path))
)
def test_a_statement_that_differs_in_one_value_is_said_otherwise(path, language):
    assert text(changed(path), language) != text(FULL, language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", [p for p in places(NOISED) if is_said(*p)], ids=lambda path: ".".join(map(str, path)))
def test_a_statement_of_shared_noise_that_differs_in_one_value_is_said_otherwise(path, language):
    assert text(changed(path, NOISED), language) != text(NOISED, language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("selection", [Poisson(40), Uniform(40), Everyone()], ids=lambda s: type(s).__name__)
def test_the_words_know_every_field_of_a_statement(selection, language):
    told = made(selection, before=())
    assert set(told) == set(FIELDS)
    assert "Further" not in text(told, language)
    assert "其他\n" not in text(told, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_that_has_no_words_yet_is_said_all_the_same(language):
    assert "- audit: 0.25" in text(FULL | {"audit": 0.25}, language)


@pytest.mark.parametrize(
    ("summed", "said"),
    [
        (SERVER, ("it gets every single one", "它收到每一份上传内容")),
        (SECURE, ("TRUSTED AGGREGATOR: secure aggregation", "受信任的聚合者：安全聚合")),
        (f"{SECURE} (insecure)", ("it could invent participants", "它可以虚构参与者")),
        (SHARED, ("any one participant together with the server can read", "任何一个参与者与服务器合谋")),
    ],
)
def test_it_is_said_what_the_server_sees_before_the_noise(summed, said):
    told = made(summed=summed)
    assert said[0] in text(told) and said[1] in text(told, "zh")
    assert ("no single one" in text(told)) == (summed == SECURE)


def test_the_claim_is_one_sentence_with_its_factor():
    epsilon, factor, delta = FULL["epsilon"], FULL["factor"], FULL["delta"]
    claim = (
        "Adding zeros instead of one participant's data changes the probability of whatever the rounds release by a "
        f"factor of at most e^{epsilon:.4g} ({factor:.4g}), except with probability {delta:.3g}."
    )
    assert claim in text(FULL)
    assert f"e^{epsilon:.4g} 倍（{factor:.4g}）" in text(FULL, "zh")
    replaced = text(made(adjacency="replace-one"))
    assert "Putting any other data in place of one participant's changes" in replaced


def test_both_languages_say_the_same_numbers_on_as_many_lines():
    english, chinese = (text(FULL, language).splitlines() for language in LANGUAGES)
    assert len(english) == len(chinese)
    for number in (f"{FULL['epsilon_against_server']:.4g}", f"{FULL['noise_multiplier']:.6g}", "0.7"):
        assert sum(number in line for line in english) == sum(number in line for line in chinese) > 0


def test_noise_that_can_be_foreseen_is_called_no_privacy():
    told = made(secure=False)
    assert "No privacy" in text(told)
    assert "NONE" in text(told)
    assert "没有隐私保护" in text(told, "zh")
    assert "except with probability" not in text(told)


def test_where_there_is_no_epsilon_there_is_no_factor_either():
    told = made(noise_multiplier=1e-4, epsilon=None, clip_quantile=None)
    assert (told["epsilon"], told["factor"]) == (None, None)
    assert "no factor" not in text(told)
    assert made(noise_multiplier=0.03, epsilon=None, clip_quantile=None)["factor"] is None, "no number holds it"


@pytest.mark.slow  # half a minute of search
def test_an_epsilon_for_which_no_noise_is_found_is_told_with_one_that_can_be_used():
    def planned(epsilon):
        return PrivacyPlan.of(UserLevel(epsilon=epsilon, clip=0.1), Poisson(60).sampling(200), 3)

    with pytest.raises(PrivacyError, match=r"epsilon is 10000.*give at most") as refused:
        planned(1e4)
    usable = float(str(refused.value).partition("at most ")[2].partition(",")[0])
    assert planned(usable).most(3) <= usable


def test_what_the_second_accountant_does_not_know_is_no_lack_of_a_bound():
    told = made(adjacency="replace-one", before=())
    assert (told["epsilon_rdp"], told["epsilon_pld"] is None) == (None, False)
    assert "by Renyi divergences not known" in text(told)
    assert "按 Rényi 散度为 未知" in text(told, "zh")


def test_synthetic_data_are_said_to_be_exempt():
    assert "no ledger is kept" in text(made(exempt=True))
    assert "no ledger is kept" not in text(FULL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_covered_is_said_of_every_run(language):
    title = {"en": "What is not covered", "zh": "不包括什么"}[language]
    assert len(text(FULL, language).split(title)[1].strip().splitlines()) == 11


def test_a_damaged_statement_is_refused_with_everything_that_is_wrong():
    damaged = {name: value for name, value in FULL.items() if name != "clip"} | {"rounds": "many", "releases": [3]}
    with pytest.raises(DamagedFile) as refused:
        text(damaged)
    for words in ("clip is missing", "rounds is 'many'", "releases holds 3", "3 problems"):
        assert words in str(refused.value)


def test_a_language_that_is_not_spoken_names_those_that_are():
    for speak in (lambda: text(FULL, "fr"), lambda: no_privacy("fr")):
        with pytest.raises(UsageError, match="'fr': give en or zh"):
            speak()
