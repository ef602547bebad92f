"""How statements are put into words: two languages, numbers, and what statements of all kinds have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from tacit.checks import is_number
from tacit.errors import UsageError

LANGUAGES = ("en", "zh")
Say: TypeAlias = Callable[[str, str], str]
"""Chooses between an English and a Chinese text."""
Statement: TypeAlias = Mapping[str, Any]


def chooser(language: str) -> Say:
    """What chooses between the two texts.

    Raises:
        UsageError: there is no such language.
    """
    if language not in LANGUAGES:
        raise UsageError(f"language is {language!r}: give {' or '.join(LANGUAGES)}")
    return (lambda en, zh: en) if language == "en" else (lambda en, zh: zh)


def label(s: Statement, say: Say) -> str:
    """The strength of a claim, in a line."""
    labels = {
        "strong": say("STRONG: epsilon of at most 1", "强：epsilon 不超过 1"),
        "reasonable": say("REASONABLE: epsilon above 1, of at most 10", "合理：epsilon 大于 1、不超过 10"),
        "weak": say(
            "WEAK: epsilon above 10, or a probability above 2 % that it fails",
            "弱：epsilon 大于 10，或失效概率大于 2%",
        ),
        "none": say("NONE: this run gives no privacy", "无：本次运行不提供隐私保护"),
    }
    return say("Label: ", "等级：") + labels.get(str(s["strength"]), str(s["strength"]))


def worlds(s: Statement, meanings: Mapping[str, str], say: Say) -> str:
    """Which worlds are compared, by the words for each adjacency."""
    meaning = meanings.get(str(s["adjacency"]), str(s["adjacency"]))
    return say(
        f"Compared are two worlds in which {meaning} ({s['adjacency']}).",
        f"比较的两种情形：{meaning}（{s['adjacency']}）。",
    )


def foreseen(say: Say) -> str:
    """What holds where the noise came from a seed."""
    return say(
        "No privacy: the noise came from a seed that somebody chose (insecure_seed). Who knows it subtracts the "
        "noise. Such a run is for tests only.",
        "没有隐私保护：噪声来自人为选定的种子（insecure_seed），知道它的人可以把噪声减掉。这样的运行只用于测试。",
    )


def unbounded(s: Statement, say: Say) -> str:
    """What holds where there is no epsilon."""
    return say(
        f"There is no finite epsilon (at delta {s['delta']:.3g}): nothing is claimed.",
        f"没有有限的 epsilon（delta 为 {s['delta']:.3g}）：不作任何承诺。",
    )


def by_renyi(s: Statement, say: Say) -> str:
    """What the second accountant says; it knows no bound where the first one may know one."""
    nothing = say("no bound", "无界") if s["epsilon_pld"] is None else say("not known", "未知")
    return told(s["epsilon_rdp"], nothing)


def nobodys(s: Statement, say: Say) -> Iterator[str]:
    """What holds of data that are synthetic."""
    yield say(
        "The data are synthetic: they are nobody's, and no ledger is kept of them.",
        "数据是合成的，不属于任何人，因此不记账。",
    )
    budget = told(s["population_budget"], say("none was set", "未设定"))
    yield say(f"Budget: {budget}.", f"预算：{budget}。")


def data_themselves(say: Say) -> Iterator[str]:
    """What was made of the data before the run, and what is told of them beside it."""
    yield say(
        "What is said of the data themselves: counts and notes of a scenario, digests in checkpoints and the ledger; "
        "and the names of items and categories that a model knows, where these were collected from the data.",
        "对数据本身的说明：场景中的计数与备注、检查点和账本中的摘要；以及从数据中收集的、模型所知的条目和类别名称。",
    )
    yield say(
        "What training starts from, and anything else that was trained on these data without privacy.",
        "训练的起点，以及用这些数据不带隐私保护训练的其他任何东西。",
    )


def engine_tried(say: Say) -> str:
    """What is told by the name of the engine."""
    return say(
        "The name of the engine that took the local steps, where the model fails on made-up examples: engines were "
        "then tried on real ones.",
        "执行本地训练步的引擎名称，如果模型在虚构样本上无法运行：此时引擎是在真实样本上试选的。",
    )


def rows_beside(say: Say) -> str:
    """What holds of the other rows of a comparison."""
    return say(
        "Rows of a comparison that were trained without privacy (pooled, local, federated without noise, baselines).",
        "对比表中不带隐私保护训练的各行（集中式、本地、无噪声的联邦学习、基线）。",
    )


def evaluation(s: Statement, say: Say) -> str:
    """What holds of measures, by whose data they are made on."""
    if s["public_evaluation"]:
        return say(
            "Evaluation: the user said that its data are public; measures on them tell nothing of participants.",
            "评估：用户声明评估数据是公开的；在其上得到的指标不透露参与者的任何信息。",
        )
    return say(
        "Evaluation: measures, after rounds and at the end, of people whom training left out too, are exact, and no "
        "claim covers them, for their data were not said to be public.",
        "评估：各轮之后及结束时的指标（包括未参加训练的人）是精确值、未加噪声；评估数据未被声明为公开，因此不在承诺之内。",
    )


def told(number: Any, nothing: str) -> str:
    """A number, or what to say where there is none."""
    if number is None:
        return nothing
    return f"{number:.4g}" if is_number(number) else str(number)
