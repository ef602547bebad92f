"""What a statement of user-level privacy does not cover, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tacit.privacy.saying import Say, Statement, data_themselves, engine_tried, evaluation, rows_beside


def not_covered(s: Statement, say: Say) -> Iterator[str]:
    """Everything, one sentence each."""
    yield say(
        "A person with several devices or accounts: protected is each client, not the person behind several.",
        "拥有多台设备或多个账号的人：保护的是每个客户端，而不是其背后的同一个人。",
    )
    yield evaluation(s, say)
    yield say(
        "When rounds took place and how long they took, which devices were there and how fast they are, network "
        "traffic, and other side channels.",
        "各轮的时间与时长、哪些设备在线及其快慢、网络流量以及其他旁路信息。",
    )
    yield say(
        "The choice of hyper-parameters, where it was made by looking at private data in other runs.",
        "超参数的选择，如果它是在其他运行中看着私有数据作出的。",
    )
    yield from data_themselves(say)
    yield engine_tried(say)
    yield say(
        "The same people under other data: the ledger knows a population by its data, unless it was given a name.",
        "同样的人的其他数据：除非给群体命名，账本按数据识别群体。",
    )
    yield say(
        "The run's checkpoints, which hold what clients remember (SCAFFOLD, FedDyn) without noise; and errors, which "
        "may name clients and end a run.",
        "运行的检查点（其中参与者的记忆未加噪声，如 SCAFFOLD、FedDyn）；以及可能提到参与者并使运行终止的错误。",
    )
    yield say(
        "Logs of the server and of participants, the lists of cohorts among them.",
        "服务器与参与者的日志，包括每轮参与者的名单。",
    )
    yield rows_beside(say)
