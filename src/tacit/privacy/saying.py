"""How statements are put into words: two languages, numbers, and what statements of all kinds have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
