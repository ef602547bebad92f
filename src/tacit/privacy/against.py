"""Against whom a claim of user-level privacy holds, in words: by who adds the noise, and who adds the reports."""

from __future__ import annotations

from collections.abc import Iterator

from tacit.privacy.plan import SECURE, SHARED
from tacit.privacy.saying import Say, Statement, told


def against(s: Statement, say: Say) -> Iterator[str]:
    """Against whom a claim holds, one sentence each."""
    none = say("no finite bound", "没有有限的界")
    if s["mechanism"].startswith("local-"):
        yield say(
            f"Everybody but the participant itself, the server that gets its reports among them: epsilon "
            f"{told(s['epsilon_against_server'], none)}, for a participant in at most {s['participations']:,} rounds "
            "(that chance puts any of them into more has a probability of at most 1e-6). Nobody is to be trusted with "
            f"anything; those who see the models alone learn no more: at most {told(s['epsilon'], none)}.",
            f"参与者自己以外的所有人，包括收到其上传内容的服务器：epsilon {told(s['epsilon_against_server'], none)}，"
            f"一个参与者最多参加 {s['participations']:,} 轮（任何一个参与者因随机而超出的概率不超过 1e-6）。"
            f"无需信任任何人；只看到模型的人知道得不会更多：最多 {told(s['epsilon'], none)}。",
        )
        return
    if s["mechanism"] == "skellam":
        yield from _against_with_shares(s, say)
        return
    yield say(
        f"Whoever sees the published models, all of them, and not who took part: epsilon {told(s['epsilon'], none)}.",
        f"看到全部公开模型、但不知道谁参加了的人：epsilon {told(s['epsilon'], none)}。",
    )
    yield say(
        f"The server, and anyone else who sees who takes part: epsilon {told(s['epsilon_against_server'], none)}, "
        f"without credit for sampling, for a participant in at most {s['participations']:,} rounds (that chance puts "
        "any of them into more has a probability of at most 1e-6). It is to add the noise and not to look at single "
        "reports.",
        f"服务器，以及其他知道谁参加了的人：epsilon {told(s['epsilon_against_server'], none)}，不计抽样的好处，"
        f"一个参与者最多参加 {s['participations']:,} 轮（任何一个参与者因随机而超出的概率不超过 1e-6）。"
        "服务器应当照实加噪声，且不查看单个上传内容。",
    )
    yield from _aggregator(s, say)
    yield say(
        "Other participants: as those who see the published models; of themselves they know when they took part.",
        "其他参与者：与看到公开模型的人相同；他们只知道自己何时参加。",
    )


def _aggregator(s: Statement, say: Say) -> Iterator[str]:
    """What the server sees before it adds the noise."""
    fewest, by = told(s["summed_at_least"], "?"), str(s["summed_by"])
    if by == SHARED:
        yield say(
            f"Reports are encrypted under a key that the participants share, and the server adds ciphertexts: any one "
            f"participant together with the server can read every report. Sums are of at least {fewest} reports.",
            f"上传内容用参与者共有的密钥加密，服务器只对密文求和：任何一个参与者与服务器合谋就能读出每一份上传内容。"
            f"每个和至少含 {fewest} 份。",
        )
    elif by == SECURE:
        yield say(
            f"TRUSTED AGGREGATOR: secure aggregation shows the server sums of at least {fewest} reports and no single "
            "one, but it sees these sums before it adds the noise. No claim holds against it if it keeps them.",
            f"受信任的聚合者：安全聚合只让服务器看到至少 {fewest} 份上传内容的和，看不到单份；"
            "但它在加噪声之前看到这些和。如果它保留这些和，则任何承诺都不防范它。",
        )
    elif by == f"{SECURE} (insecure)":
        yield say(
            f"TRUSTED AGGREGATOR: reports are summed securely, {fewest} at least, in a way that trusts the server "
            "(insecure_unsigned: it could invent participants; insecure_honest_server: it could ask them differently).",
            f"受信任的聚合者：上传内容经安全聚合求和，每个和至少 {fewest} 份，但这种方式信任服务器"
            "（insecure_unsigned：它可以虚构参与者；insecure_honest_server：它可以对参与者说不同的话）。",
        )
    else:
        yield say(
            f"Reports are added by: {by}; it gets every single one.",
            f"上传内容由其求和：{by}；它收到每一份上传内容。",
        )


def _against_with_shares(s: Statement, say: Say) -> Iterator[str]:
    none = say("no finite bound", "没有有限的界")
    yield say(
        f"Everybody else, the server among them, who sees who takes part and every noised sum: epsilon "
        f"{told(s['epsilon'], none)}, for a participant in at most {s['participations']:,} rounds (that chance puts "
        "any of them into more has a probability of at most 1e-6). Nobody is to be trusted with adding the noise.",
        f"其他所有人，包括知道谁参加、并看到每个加噪声之和的服务器：epsilon {told(s['epsilon'], none)}，"
        f"一个参与者最多参加 {s['participations']:,} 轮（任何一个参与者因随机而超出的概率不超过 1e-6）。"
        "无需信任任何人来加噪声。",
    )
    fewest, honest = told(s["summed_at_least"], "?"), told(s["honest"], "?")
    yield say(
        f"That rests on {s['summed_by']}: sums are of at least {fewest} reports, and at least {honest} of the "
        "participants in each add their noise and tell nobody of it. Where fewer do, there is less noise than is "
        "claimed.",
        f"这依赖于安全聚合（{s['summed_by']}）：每个和至少含 {fewest} 份上传内容，其中至少 {honest} 个参与者"
        "照实加噪声且不泄露它。如果不足，噪声就比所承诺的小。",
    )
