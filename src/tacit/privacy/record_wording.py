"""The statement of record-level privacy as one page of sentences, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Iterator

from tacit.privacy.saying import (
    Say,
    Statement,
    by_renyi,
    chooser,
    data_themselves,
    engine_tried,
    evaluation,
    foreseen,
    label,
    nobodys,
    rows_beside,
    told,
    unbounded,
    worlds,
)


def text(statement: Statement, language: str = "en") -> str:
    """One page that says every field of `record_statement.statement`.

    Args:
        statement: as result.json holds it, under "record_privacy".
        language: "en" or "zh".

    Raises:
        UsageError: there is no such language.
    """
    say = chooser(language)
    parts = [
        (say("Privacy of the records in this run", "本次运行对单条记录的隐私声明"), [label(statement, say)]),
        (say("What is protected", "保护什么"), _protected(statement, say)),
        (say("What is claimed", "承诺"), _claim(statement, say)),
        (say("Against whom", "防范谁"), _against(statement, say)),
        (say("How it is kept", "如何做到"), _mechanism(statement, say)),
        (say("Client by client", "各参与者"), _groups(statement, say)),
        (say("Over all runs", "历次运行合计"), _over_all_runs(statement, say)),
        (say("What is not covered", "不包括什么"), _not_covered(statement, say)),
    ]
    return "\n\n".join("\n".join([title, *(f"- {line}" for line in lines)]) for title, lines in parts)


def _protected(s: Statement, say: Say) -> Iterator[str]:
    yield say(
        f"Unit: every single {s['unit']} of each of {s['clients']:,} participants. How many each has is public.",
        f"保护单位：{s['clients']:,} 个参与者各自的每一条记录（{s['unit']}）；各自的记录数是公开的。",
    )
    if s["record"] is not None:
        yield say(f"A record is {s['record']['en']}.", f"一条记录是{s['record']['zh']}。")
    meanings = {
        "zero-out": say("one record is replaced by nothing", "一条记录换成空"),
        "replace-one": say("one record is replaced by any other", "一条记录换成任意其他记录"),
    }
    yield worlds(s, meanings, say)


def _claim(s: Statement, say: Say) -> Iterator[str]:
    if not s["secure_randomness"]:
        yield foreseen(say)
    if s["epsilon"] is None:
        yield unbounded(s, say)
        return
    factor = told(s["factor"], say("beyond all numbers", "大到无法表示"))
    changed = say("Putting nothing in place of one record", "把一条记录换成空")
    if s["adjacency"] == "replace-one":
        changed = say("Putting any other in place of one record", "把一条记录换成任意其他记录")
    yield say(
        f"{changed} changes the probability of anything that its holder sends by a factor of at most "
        f"e^{s['epsilon']:.4g} ({factor}), except with probability {s['delta']:.3g}. Each of the two is the "
        "largest of all participants, so that together they hold for every record; what holds for each stands below.",
        f"{changed}，其持有者发送的任何内容的概率最多变化 e^{s['epsilon']:.4g} 倍（{factor}），"
        f"例外的概率为 {s['delta']:.3g}。两者各取所有参与者中的最大值，因此合在一起对每条记录都成立；"
        "各自的数值见下。",
    )


def _against(s: Statement, say: Say) -> Iterator[str]:
    epsilon = told(s["epsilon_against_server"], say("no finite bound", "没有有限的界"))
    yield say(
        f"Everybody outside of the participant that holds the record, the server and other participants among them: "
        f"epsilon {epsilon}. The noise is in the participant's own local steps, so nobody else is to be trusted.",
        f"持有该记录的参与者之外的所有人，包括服务器和其他参与者：epsilon {epsilon}。噪声加在参与者自己的本地训练步中，"
        "无需信任任何其他人。",
    )
    yield say(
        "Not against the participant itself, which holds the records in clear.",
        "不防范参与者自己：它持有原始记录。",
    )


def _mechanism(s: Statement, say: Say) -> Iterator[str]:
    yield say(
        f"{s['rounds']:,} of {s['rounds_planned']:,} planned rounds were done.",
        f"计划 {s['rounds_planned']:,} 轮，完成了 {s['rounds']:,} 轮。",
    )
    sampling = s["sampling"]
    yield say(
        f"Every local step reads every record by a coin of its own ({sampling['kind']}); where epsilon is largest, "
        f"with probability {told(sampling['rate'], '?')}, {told(sampling['size'], '?')} of {sampling['of']:,} on "
        "average. The program drew the coins itself.",
        f"每个本地训练步对每条记录独立抽样（{sampling['kind']}）；epsilon 最大处的概率为 "
        f"{told(sampling['rate'], '?')}，平均从 {sampling['of']:,} 条中抽 {told(sampling['size'], '?')} 条。"
        "由程序自己抽取。",
    )
    yield say(
        f"Each record's gradient is cut to a norm of {s['clip']:g}, and Gaussian noise of {s['noise_multiplier']:.6g} "
        "times that (where epsilon is largest) is added to the sum of every step, before the sum is used for anything.",
        f"每条记录的梯度范数截断到 {s['clip']:g}，每一步的梯度和在使用之前加上其 {s['noise_multiplier']:.6g} 倍"
        "（epsilon 最大处）的高斯噪声。",
    )
    if s["secure_randomness"]:
        yield say(
            "The noise and the coins came from the operating system's randomness and cannot be foreseen.",
            "噪声与抽样来自操作系统的随机源，无法预知。",
        )
    none, there = say("no bound", "无界"), max(s["groups"], key=lambda group: group["epsilon"] or 0.0)
    yield say(
        f"By privacy loss distributions epsilon is {told(s['epsilon_pld'], none)} where it is largest, by Renyi "
        f"divergences {by_renyi(s, say)} (a second opinion), for {s['participations']:,} rounds at delta "
        f"{there['delta']:.3g}; {s['accountant']}.",
        f"epsilon 最大处，{s['participations']:,} 轮：按隐私损失分布为 {told(s['epsilon_pld'], none)}，"
        f"按 Rényi 散度为 {by_renyi(s, say)}（用作核对），delta 为 {there['delta']:.3g}；{s['accountant']}。",
    )


def _groups(s: Statement, say: Say) -> Iterator[str]:
    for group in s["groups"]:
        few, many, clients = group["fewest_records"], group["most_records"], group["clients"]
        records = f"{few:,}" if few == many else f"{few:,} - {many:,}"
        epsilon = told(group["epsilon"], say("no finite bound", "没有有限的界"))
        yield say(
            f"{clients:,} {'participant' if clients == 1 else 'participants'} with {records} "
            f"{'record' if many == 1 else 'records'}: epsilon {epsilon} at delta {group['delta']:.3g}, in at most "
            f"{group['rounds']:,} rounds of {group['steps']:,} steps, rate {group['rate']:.4g}, noise multiplier "
            f"{group['noise_multiplier']:.4g}.",
            f"{clients:,} 个参与者，各有 {records} 条记录：epsilon {epsilon}（delta {group['delta']:.3g}），"
            f"最多 {group['rounds']:,} 轮，每轮 {group['steps']:,} 步，抽样率 {group['rate']:.4g}，"
            f"噪声乘数 {group['noise_multiplier']:.4g}。",
        )


def _over_all_runs(s: Statement, say: Say) -> Iterator[str]:
    if s["synthetic"]:
        yield from nobodys(s, say)
        return
    total = told(s["epsilon_population_total"], say("not known as a finite number", "没有有限的数"))
    yield say(
        f"With other record-level runs on the same records, epsilon of all of them is at most {total}, for the "
        "participant of which it is largest, drawn in this run or not. Each participant has an account of its own in "
        "the ledger.",
        f"连同对同样记录的其他记录级运行，epsilon 合计最多为 {total}（取所有参与者中最大的，不论本次是否抽中）。"
        "每个参与者在账本中有自己的账户。",
    )
    yield say(
        f"Not in it: {s['user_runs']:,} other runs that were charged for these participants as a whole (user-level).",
        f"不在其内：另有 {s['user_runs']:,} 次运行按参与者整体（用户级）记账。",
    )
    budget = told(s["population_budget"], say("none was set", "未设定"))
    yield say(
        f"Budget of each participant's records over all runs: {budget}.", f"各参与者记录历次运行的总预算：{budget}。"
    )


def _not_covered(s: Statement, say: Say) -> Iterator[str]:
    yield say(
        "A person with several records, at one participant or at several: protected is each record, not the person.",
        "在一个或多个参与者处有多条记录的人：保护的是每条记录，而不是这个人。",
    )
    yield say(
        "That a participant takes part, how many records it has, how many steps it takes and how long; and that its "
        "training fails, where it does.",
        "参与者是否参加、有多少条记录、训练多少步、花多长时间；以及训练是否出错。",
    )
    yield evaluation(s, say)
    yield from data_themselves(say)
    yield engine_tried(say)
    yield say(
        "The choice of hyper-parameters, where it was made by looking at the records in other runs.",
        "超参数的选择，如果它是在其他运行中看着这些记录作出的。",
    )
    yield say(
        "Sums in single precision are rounded: gradients are cut 0.4 % shorter, which covers batches of up to 181 "
        "records for any data.",
        "单精度求和有舍入：梯度多截短 0.4%，对任意数据可覆盖最多 181 条记录的批次。",
    )
    yield rows_beside(say)
