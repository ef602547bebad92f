"""The statement of a private run as one page of sentences, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tacit.checks import is_number, is_whole
from tacit.errors import DamagedFile, Problems
from tacit.privacy.against import against
from tacit.privacy.saying import Say, Statement, by_renyi, chooser, foreseen, label, nobodys, told, unbounded, worlds
from tacit.privacy.uncovered import not_covered

FIELDS: dict[str, str] = {
    "unit": "text",
    "adjacency": "text",
    "epsilon": "number or null",
    "delta": "number",
    "clients": "whole",
    "clip": "number",
    "clip_quantile": "number or null",
    "mechanism": "text",
    "bands": "whole",
    "public_evaluation": "truth",
    "noise_multiplier": "number",
    "sampling": "table",
    "rounds": "whole",
    "rounds_planned": "whole",
    "rounds_lost": "whole",
    "epsilon_pld": "number or null",
    "epsilon_rdp": "number or null",
    "epsilon_against_server": "number or null",
    "participations": "whole",
    "epsilon_population_total": "number or null",
    "earlier_charges": "whole",
    "record_runs": "whole",
    "population_budget": "number or null",
    "weights_bounded_at": "whole or null",
    "summed_by": "text",
    "summed_at_least": "whole or null",
    "honest": "whole or null",
    "releases": "list",
    "accountant": "text",
    "synthetic": "truth",
    "secure_randomness": "truth",
    "factor": "number or null",
    "strength": "text",
}
"""What a statement holds (see `statement.statement`), each with its kind."""


def text(statement: Statement, language: str = "en") -> str:
    """One page that says every field of a statement.

    Args:
        statement: as `statement.statement` makes it, or as result.json holds it.
        language: "en" or "zh".

    Raises:
        UsageError: there is no such language.
        DamagedFile: something is missing in the statement, or is not of its kind; all of it.
    """
    say = chooser(language)
    _check(statement)
    parts = [
        (say("Privacy of this run", "本次运行的隐私声明"), [label(statement, say)]),
        (say("What is protected", "保护什么"), _protected(statement, say)),
        (say("What is claimed", "承诺"), _claim(statement, say)),
        (say("Against whom", "防范谁"), against(statement, say)),
        (say("How it is kept", "如何做到"), _mechanism(statement, say)),
        (say("How it was computed", "如何计算"), _accounting(statement, say)),
        (say("Over all runs", "历次运行合计"), _over_all_runs(statement, say)),
        (say("What is not covered", "不包括什么"), not_covered(statement, say)),
    ]
    further = [f"{name}: {value}" for name, value in statement.items() if name not in (*FIELDS, "text")]
    if further:
        parts.append((say("Further", "其他"), further))
    return "\n\n".join("\n".join([title, *(f"- {line}" for line in lines)]) for title, lines in parts)


def no_privacy(language: str = "en") -> str:
    """What is to be said of a run without differential privacy."""
    return chooser(language)(
        "This run gives no formal privacy: nothing bounds what its model tells of one participant. That data stay with "
        "their owners, and that reports are summed, is no such bound.",
        "本次运行不提供形式化的隐私保护：模型会透露某个参与者多少信息，没有任何界限。数据留在本地、上传内容只求和，"
        "都不构成这样的界限。",
    )


def _check(statement: Statement) -> None:
    with Problems("this is no statement that this tacit can put into words", DamagedFile) as problems:
        for name, kind in FIELDS.items():
            if name not in statement:
                problems.add(f"{name} is missing: use the tacit that wrote it")
            elif not _is_of(kind, statement[name]):
                problems.add(f"{name} is {statement[name]!r}: it should be {kind}")
        for release in statement.get("releases") or ():
            known = isinstance(release, Mapping) and all(
                is_number(release.get(n)) for n in ("norm", "noise_multiplier")
            )
            problems.check(known, f"releases holds {release!r}: it should have a name, a norm and a noise_multiplier")


def _is_of(kind: str, value: object) -> bool:
    if value is None:
        return kind.endswith("null")
    kind = kind.removesuffix(" or null")
    if kind == "number":
        return is_number(value)
    if kind == "whole":
        return is_whole(value, 0)
    return isinstance(value, {"text": str, "table": Mapping, "list": list, "truth": bool}[kind])


def _protected(s: Statement, say: Say) -> Iterator[str]:
    everything = say(
        "everything that one participant ever sends, all of it together", "一个参与者发送的全部内容，作为整体"
    )
    units = {"user": everything}
    unit = units.get(str(s["unit"]), str(s["unit"]))
    yield say(
        f"Unit: {unit}, for each of {s['clients']:,} participants; that number is public.",
        f"保护单位：{unit}；参与者共 {s['clients']:,} 个，这个数目是公开的。",
    )
    adjacencies = {
        "zero-out": say("one participant's data are replaced by nothing", "一个参与者的数据换成空"),
        "replace-one": say("one participant's data are replaced by any others", "一个参与者的数据换成任意其他数据"),
        "add-remove": say("one participant is added or removed", "增加或去掉一个参与者"),
    }
    yield worlds(s, adjacencies, say)


def _claim(s: Statement, say: Say) -> Iterator[str]:
    if not s["secure_randomness"]:
        yield foreseen(say)
    changed = {
        "replace-one": say(
            "Putting any other data in place of one participant's", "把一个参与者的数据换成任意其他数据"
        ),
        "add-remove": say("Adding or removing one participant", "增加或去掉一个参与者"),
    }.get(str(s["adjacency"]), say("Adding zeros instead of one participant's data", "用零代替一个参与者的数据"))
    if s["epsilon"] is None:
        yield unbounded(s, say)
        return
    factor = told(s["factor"], say("beyond all numbers", "大到无法表示"))
    what = say("whatever the rounds release", "各轮发布的任何内容")
    if s["mechanism"].startswith("local-"):
        what = say("whatever the participant sends, in all rounds,", "该参与者在各轮中发送的任何内容")
    yield say(
        f"{changed} changes the probability of {what} by a factor of at most e^{s['epsilon']:.4g} "
        f"({factor}), except with probability {s['delta']:.3g}.",
        f"{changed}，{what}的概率最多变化 e^{s['epsilon']:.4g} 倍（{factor}），例外的概率为 {s['delta']:.3g}。",
    )


def _mechanism(s: Statement, say: Say) -> Iterator[str]:
    yield _sampling(s["sampling"], say)
    yield say(
        f"{s['rounds']:,} of {s['rounds_planned']:,} planned rounds were released.",
        f"计划 {s['rounds_planned']:,} 轮，发布了 {s['rounds']:,} 轮。",
    )
    if s["rounds_lost"]:
        yield say(
            f"{s['rounds_lost']:,} rounds more count as released, for the run was cut off in them.",
            f"另有 {s['rounds_lost']:,} 轮因运行中断而按已发布计算。",
        )
    if s["mechanism"].startswith("local-"):
        yield _noise_of_each(s, say)
        yield from _weights(s, say)
        return
    if s["mechanism"] == "skellam":
        yield _noise_of_all(s, say)
        yield from _weights(s, say)
        return
    yield say(
        f"Every report is cut to a norm of {s['clip']:g}, reports are summed as integers, and Gaussian noise is added "
        f"once; all that a round releases is worth a noise multiplier of {s['noise_multiplier']:.6g}.",
        f"每份上传内容的范数截断到 {s['clip']:g}，按整数求和，再加一次高斯噪声；一轮发布的全部内容合起来相当于噪声乘数 "
        f"{s['noise_multiplier']:.6g}。",
    )
    if s["clip_quantile"] is not None:
        yield say(
            f"That norm is the first round's; it then follows the {s['clip_quantile']:g} quantile of the reports' "
            "norms, which is released with noise.",
            f"这是第一轮的范数；此后它跟随各份上传内容范数的 {s['clip_quantile']:g} 分位数，该分位数加噪声后发布。",
        )
    if s["mechanism"] == "gaussian":
        yield say(
            f"The noise of rounds is independent: each round's is {s['bands']} draw of its own.",
            f"各轮噪声相互独立：每轮各自抽取 {s['bands']} 次。",
        )
    else:
        yield say(
            f"The noise is correlated ({s['mechanism']}): each round's combines the draws of {s['bands']:,} rounds, "
            "and the whole run counts as one release.",
            f"噪声是相关的（{s['mechanism']}）：每轮噪声由 {s['bands']:,} 轮的抽样组合而成，整个运行按一次发布计算。",
        )
    for release in s["releases"]:
        norm, z = release["norm"], release["noise_multiplier"]
        yield say(
            f"Released in every round: {release.get('name')}, bounded by {norm:g}, noise multiplier {z:.6g}.",
            f"每轮发布：{release.get('name')}，上界 {norm:g}，噪声乘数 {z:.6g}。",
        )
    yield from _weights(s, say)
    if s["secure_randomness"] and s["sampling"].get("kind") == "separated":
        yield say(
            "The noise came from the operating system's randomness and cannot be foreseen; the turns can.",
            "噪声来自操作系统的随机源，无法预知；轮次可以预知。",
        )
    elif s["secure_randomness"]:
        yield say(
            "The noise and the draws came from the operating system's randomness and cannot be foreseen.",
            "噪声与抽样来自操作系统的随机源，无法预知。",
        )


def _noise_of_all(s: Statement, say: Say) -> str:
    return say(
        f"Every participant turns its report by a public rotation, cuts it to a norm of {s['clip']:g}, rounds it at "
        f"random to integers, and adds Skellam noise before it masks it. The noise of {told(s['honest'], '?')} "
        f"participants together has a standard deviation of {s['noise_multiplier']:.6g} times the largest norm of a "
        "rounded report. A simulation draws the noise of a sum as one, unless it runs the whole protocol.",
        f"每个参与者先用公开的旋转变换上传内容，把范数截断到 {s['clip']:g}，随机取整，加上 Skellam 噪声，然后加掩码。"
        f"{told(s['honest'], '?')} 个参与者的噪声合起来，标准差是取整后最大范数的 {s['noise_multiplier']:.6g} 倍。"
        "除非运行完整协议，模拟中一个和的噪声合并为一次抽取。",
    )


def _noise_of_each(s: Statement, say: Say) -> str:
    norm, spread = say("Euclidean norm", "欧几里得范数"), say("standard deviation", "标准差")
    end = say("A simulation draws the Gaussian noise of a cohort as one.", "模拟中一轮的高斯噪声合并为一次抽取。")
    if s["mechanism"] == "local-laplace":
        norm, spread = say("1-norm", "1-范数"), say("scale", "尺度参数")
        end = say("The noise of each participant is drawn alone.", "各参与者的噪声分别抽取。")
    return say(
        f"Every participant cuts its report to a {norm} of {s['clip']:g}, and adds noise ({s['mechanism']}) whose "
        f"{spread} is {s['noise_multiplier']:.6g} times that to every number of it itself, before it sends it "
        f"({s['bands']} draw each). {end}",
        f"每个参与者把上传内容的{norm}截断到 {s['clip']:g}，并在发送之前自己加上噪声（{s['mechanism']}）："
        f"对其中每个数，{spread}为该值的 {s['noise_multiplier']:.6g} 倍（各抽取 {s['bands']} 次）。{end}",
    )


def _weights(s: Statement, say: Say) -> Iterator[str]:
    if s["weights_bounded_at"] is None:
        yield say("All participants in a round count alike.", "一轮中的参与者权重相同。")
    else:
        yield say(
            f"Participants count by their examples, of which at most {s['weights_bounded_at']:,} count.",
            f"参与者按样本数加权，最多计 {s['weights_bounded_at']:,} 个。",
        )


def _sampling(sampling: Mapping[str, Any], say: Say) -> str:
    kind, size, of = sampling.get("kind"), sampling.get("size"), sampling.get("of")
    rate, cap = sampling.get("rate"), sampling.get("cap")
    kinds = {
        "poisson": say(
            f"each of {of} by a coin of its own with probability {told(rate, '?')}, {told(size, '?')} on average; of "
            f"more than {cap}, so many are kept at random",
            f"{of} 个参与者各自以概率 {told(rate, '?')} 独立抽中，平均 {told(size, '?')} 个；"
            f"超过 {cap} 个时随机保留这么多",
        ),
        "uniform": say(
            f"{told(size, '?')} of {of}, at random without replacement",
            f"从 {of} 个中不放回地随机抽 {told(size, '?')} 个",
        ),
        "separated": say(
            f"{told(size, '?')} of {of} in turns, each at least {sampling.get('gap')} rounds apart, without "
            "credit for chance",
            f"{of} 个参与者轮流参加，每轮 {told(size, '?')} 个，同一个参与者两次参加至少相隔 {sampling.get('gap')} 轮，"
            "不计随机抽样的好处",
        ),
        "arbitrary": say(
            f"about {told(size, '?')} of {of}, chosen in ways that are no matter of chance (devices, turns, speed), "
            "without credit for chance",
            f"从 {of} 个中选约 {told(size, '?')} 个，选择方式不是随机的（设备、轮次、快慢），不计随机抽样的好处",
        ),
        "everyone": say(f"all {of} in every round ({told(size, '?')})", f"每轮全部 {of} 个（{told(size, '?')}）"),
    }
    how = kinds.get(str(kind), str(dict(sampling)))
    known = {"kind", "size", "of", *{"poisson": ("rate", "cap"), "separated": ("gap",)}.get(str(kind), ())}
    further = "".join(f"; {name} {value}" for name, value in sampling.items() if name not in known)
    return say(
        f"Sampling ({kind}): {how}{further}. The program drew every cohort itself, and held each against this rule.",
        f"抽样（{kind}）：{how}{further}。每轮都由程序自己抽取，并逐一核对是否符合此规则。",
    )


def _accounting(s: Statement, say: Say) -> Iterator[str]:
    none = say("no bound", "无界")
    if s["mechanism"] == "skellam":
        yield say(
            f"By Renyi divergences epsilon is {by_renyi(s, say)}; no privacy loss distribution is known for this "
            f"noise; {s['accountant']}.",
            f"按 Rényi 散度，epsilon 为 {by_renyi(s, say)}；这种噪声没有已知的隐私损失分布；{s['accountant']}。",
        )
        return
    yield say(
        f"By privacy loss distributions epsilon is {told(s['epsilon_pld'], none)}, by Renyi divergences "
        f"{by_renyi(s, say)} (a second opinion); {s['accountant']}.",
        f"按隐私损失分布，epsilon 为 {told(s['epsilon_pld'], none)}；按 Rényi 散度为 {by_renyi(s, say)}"
        f"（用作核对）；{s['accountant']}。",
    )


def _over_all_runs(s: Statement, say: Say) -> Iterator[str]:
    if s["synthetic"]:
        yield from nobodys(s, say)
        if s["epsilon_population_total"] is None and not s["earlier_charges"] and not s["record_runs"]:
            return
    total = told(s["epsilon_population_total"], say("not known as a finite number", "没有有限的数"))
    yield say(
        f"Other user-level runs on this population were charged {s['earlier_charges']:,} times (for a round, or for a "
        f"whole run whose noise is correlated); with this run, epsilon of all user-level runs: {total}.",
        f"对同一群体的其他用户级隐私运行共记账 {s['earlier_charges']:,} 次（每次为一轮，或噪声相关的整个运行）；"
        f"连同本次，所有用户级运行的 epsilon 合计：{total}。",
    )
    yield say(
        f"Not in it: {s['record_runs']:,} other runs that were charged for single records of these participants.",
        f"不在其内：另有 {s['record_runs']:,} 次运行按这些参与者的单条记录记账。",
    )
    budget = told(s["population_budget"], say("none was set", "未设定"))
    yield say(f"Budget of the population over all runs: {budget}.", f"该群体历次运行的总预算：{budget}。")
