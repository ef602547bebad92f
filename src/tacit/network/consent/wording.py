"""What a run asks of a participant, in words for those who decide about it and need not know how learning works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tacit.aggregation.secure_sum import SecureSum
from tacit.network.consent.cost import RECORD, Cost, groups_of, sampling_of
from tacit.plan import build
from tacit.population.schema import Schema
from tacit.privacy.local_level import LocalLevel
from tacit.privacy.saying import Say, chooser
from tacit.privacy.user_level import SKELLAM
from tacit.scenarios.scenario import REGISTRY

if TYPE_CHECKING:
    from tacit.network.terms import Terms

NAMED = 12
"""So many columns are named; of more, how many there are."""
LONGEST = 60
"""Most letters of a name that is shown."""


def explained(terms: Terms, costs: tuple[Cost, ...], language: str = "en") -> list[tuple[str, str]]:
    """Headings and sentences: what is trained, on what, for how long, what leaves, who sees what, and who vouches.

    Args:
        terms: of the run.
        costs: what they cost this participant.
        language: "en" or "zh".

    Raises:
        UsageError: there is no such language.
    """
    say = chooser(language)
    return [
        (say("Task", "任务"), _task(terms, say)),
        (say("Data used", "所用数据"), _data(terms.schema, say)),
        (say("Duration", "时长"), _rounds(terms, say)),
        (say("What leaves", "离开本机的内容"), _leaves(terms, say)),
        (say("Who sees it", "谁能看到"), _seen(terms, say)),
        (say("Privacy", "隐私"), " ".join(_privacy(terms, costs, say))),
        (say("Who vouches", "由谁担保"), _vouches(terms, say)),
        (say("Connection", "连接"), _connection(terms, say)),
        (say("What remains", "留下什么"), _remains(say)),
        (say("Plan", "计划"), terms.plan.hash),
        (say("Terms", "条款"), terms.hash),
    ]


def _task(terms: Terms, say: Say) -> str:
    name = terms.plan.scenario
    about = f": {REGISTRY[name].about}" if name in REGISTRY else ""
    return say(
        f"{name}{about}. Only the program that is installed here computes; no code is received.",
        f"{name}。只运行本机已安装的程序，不接收任何代码。",
    )


def _data(schema: Schema, say: Say) -> str:
    inputs, outputs = (_listed(names) for names in (schema.inputs, schema.outputs))
    shape = " x ".join(map(str, schema.shape)) or "1"
    read = inputs or say(f"examples of {shape} numbers", f"每个样本 {shape} 个数")
    learned = outputs or say("a value for each example", "每个样本的一个值")
    return say(f"It reads {read}, and learns to predict {learned}.", f"读取：{read}；学习预测：{learned}。")


def _rounds(terms: Terms, say: Say) -> str:
    sampling, rounds = sampling_of(terms), terms.plan.rounds
    size, people = f"{sampling.size:g}", terms.participants
    return say(
        f"{rounds:,} rounds at most. There are {people:,} participants, of which "
        f"{size} take part in a round on average.",
        f"最多 {rounds:,} 轮。共有 {people:,} 个参与方，平均每轮 {size} 个参加。",
    )


def _leaves(terms: Terms, say: Say) -> str:
    method, more = terms.plan.algorithm.name, list(_beside(terms, say))
    beside = say(f", and with it {', '.join(more)}", f"，以及{'、'.join(more)}") if more else ""
    return say(
        "In each round in which this participant takes part: one list of numbers, the change of the model's parameters "
        f"as the method {method} sends it{beside}. No record, no name and no file leaves. Numbers computed from data "
        "can still tell of them, which is what the next two points are about.",
        f"每次参加一轮时：一组数字，即方法 {method} 所发送的模型参数变化量{beside}。记录、姓名和文件都不会离开本机。"
        "但由数据算出的数字仍可能透露数据的信息，下面两点说明对此的保护。",
    )


def _beside(terms: Terms, say: Say) -> Iterator[str]:
    """What is in a report beside the method's own numbers."""
    level, records = build.privacy(terms.plan), build.record_privacy(terms.plan)
    if level is None:
        yield say("the number of examples", "样本数")
    if (level is None and records is None) or (level is not None and level.loss_bound is not None):
        yield say("the mean training loss", "平均训练损失")
    if level is None and records is None:
        yield say("running statistics of the model, where it keeps any", "模型的运行统计量（如有）")
    for name in () if level is None else map(printable, level.metrics):
        yield say(f"the measure {name} on the own examples", f"在自有样本上的指标 {name}")


def _seen(terms: Terms, say: Say) -> str:
    how = build.aggregation(terms.plan)
    if isinstance(how, SecureSum):
        fewest = how.fewest(sampling_of(terms), groups_of(terms))
        text = say(
            f"Nobody sees this participant's numbers alone: the coordinator can read only sums over {fewest} "
            f"participants or more, as long as at most {how.corrupt:.0%} of them work together against the others.",
            f"任何人都看不到本参与方单独的数字：协调方只能读到至少 {fewest} 个参与方之和，"
            f"前提是其中合谋者不超过 {how.corrupt:.0%}。",
        )
        if how.insecure_unsigned or how.insecure_honest_server:
            text += say(
                " WARNING: this plan weakens that protection (insecure_*).",
                "警告：该计划削弱了这一保护（insecure_*）。",
            )
        return text
    return say(
        "The coordinator sees this participant's numbers as they are, each round (no secure sum).",
        "协调方每轮都能看到本参与方的原始数字（没有安全求和）。",
    )


def _privacy(terms: Terms, costs: tuple[Cost, ...], say: Say) -> Iterator[str]:
    for cost in costs:
        if not cost.private:
            yield say(
                "No differential privacy: nothing bounds what the results tell of this participant's data.",
                "没有差分隐私：结果会透露本参与方数据的多少，没有任何上限。",
            )
            continue
        whom = _protected(cost, say)
        if cost.promised is None:
            yield say(
                f"Differential privacy for {whom}; how much follows from the number of records here.",
                f"对{whom}提供差分隐私；强度取决于本机的记录数。",
            )
            continue
        epsilon, delta = cost.promised
        yield say(
            f"Differential privacy for {whom}: epsilon {epsilon:g}, delta {delta:.2g} over the whole run (smaller is "
            f"stronger; up to 1 is strong, above 10 weak), in at most {cost.reports} reports.",
            f"对{whom}提供差分隐私：整个运行 epsilon {epsilon:g}、delta {delta:.2g}"
            f"（越小越强：不超过 1 为强，超过 10 为弱），最多 {cost.reports} 次报告。",
        )
    level = build.privacy(terms.plan)
    if level is not None and level.mechanism != SKELLAM and not isinstance(level, LocalLevel):
        yield say(
            "The coordinator adds the noise that protects, and must be trusted to do so.",
            "起保护作用的噪声由协调方加入，须信任其确实加入。",
        )


def _protected(cost: Cost, say: Say) -> str:
    if cost.unit == RECORD:
        return say("every single record (one row of the data)", "每一条记录（数据中的一行）")
    return say("all that this participant ever sends", "本参与方发送的全部内容")


def _vouches(terms: Terms, say: Say) -> str:
    key = terms.authority
    return say(
        f"The holder of the key {key} says who the participants are. Whoever holds it could invent participants: "
        "compare the key with its owner by another way, the telephone, say.",
        f"密钥 {key} 的持有者担保各参与方的身份。持有者可以虚构参与方：请通过其他途径（例如电话）与其核对密钥。",
    )


def _connection(terms: Terms, say: Say) -> str:
    if terms.loopback:
        return say(
            "WITHOUT TLS, within one machine: for tests only.",
            "没有 TLS，仅限同一台机器：只用于测试。",
        )
    return say("Encrypted (TLS); every message is signed.", "加密（TLS）；每条消息都有签名。")


def _remains(say: Say) -> str:
    return say(
        "Taking part can end at any time. What was summed into the model before then stays in it.",
        "可以随时退出。退出之前已计入模型的部分会留在模型中。",
    )


def printable(text: str, longest: int = LONGEST) -> str:
    """Text of somebody else's, for a terminal: what is no letter, sign or space cannot move, hide or turn what stands
    around it.
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    shown = ", ".join(printable(name) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown}, ... ({len(names):,})"
