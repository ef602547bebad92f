"""Whether a policy admits terms: every reason against them, each with the value and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from tacit.aggregation.secure_sum import SecureSum
from tacit.errors import PrivacyError, UsageError
from tacit.network.consent.clock import zone_of
from tacit.network.consent.cost import Cost, groups_of, sampling_of
from tacit.network.consent.cost import costs as costs_of
from tacit.plan import build

if TYPE_CHECKING:
    from tacit.network.consent.policy import Policy
    from tacit.network.consent.spending import Spending
    from tacit.network.terms import Terms
    from tacit.privacy.saying import Say


def reasons(
    policy: Policy,
    terms: Terms,
    costs: tuple[Cost, ...] | None,
    spending: Spending | None,
    authority: bytes | None,
    now: datetime,
    say: Say,
) -> Iterator[str]:
    """See `Policy.admit`."""
    if policy.expires is not None and now.astimezone(zone_of(policy.zone)).date() >= policy.expires:
        yield say(
            f"the policy expired on {policy.expires}: give a later day, if this participant is to go on",
            f"策略已于 {policy.expires} 到期：若要继续参加，请填写更晚的日期",
        )
    yield from _of_the_plan(policy, terms, say)
    yield from _of_whom(policy, terms, authority, say)
    yield from _of_sums(policy, terms, say)
    yield from _of_privacy(policy, terms, costs, spending, now, say)


def _of_the_plan(policy: Policy, terms: Terms, say: Say) -> Iterator[str]:
    plan = terms.plan
    if policy.tasks is not None and plan.scenario not in policy.tasks:
        known = ", ".join(policy.tasks)
        yield say(
            f"the task is {plan.scenario!r}, and this participant allows {known or 'none'}: add it to tasks",
            f"任务是 {plan.scenario!r}，而本参与方只允许 {known or '（无）'}：请把它加入 tasks",
        )
    if policy.plans and plan.hash not in policy.plans:
        yield say(
            f"the plan is {plan.hash}, which is none of the {len(policy.plans)} in plans: add it there",
            f"计划是 {plan.hash}，不在 plans 所列的 {len(policy.plans)} 个之中：请把它加入 plans",
        )
    if policy.rounds is not None and plan.rounds > policy.rounds:
        yield say(
            f"the plan has {plan.rounds} rounds, and this participant takes part in {policy.rounds} at most (rounds)",
            f"计划有 {plan.rounds} 轮，而本参与方最多参加 {policy.rounds} 轮（rounds）",
        )


def _of_whom(policy: Policy, terms: Terms, authority: bytes | None, say: Say) -> Iterator[str]:
    accepted = [key.hex() for key in policy.accepted(authority)]
    if terms.authority not in accepted:
        known, by = ", ".join(f"{key[:16]}..." for key in accepted), f"{terms.authority[:16]}..."
        yield say(
            f"participants are certified by {by}, and this one accepts {known or 'none'}: enrol with that "
            "coordinator, or add the key to authorities after comparing it with its owner",
            f"参与方由 {by} 认证，而本参与方接受 {known or '（无）'}：请向该协调方登记，"
            "或与密钥持有者核对后把密钥加入 authorities",
        )
    if terms.loopback and not policy.insecure_loopback:
        yield say(
            "the connection has no TLS (loopback): let the coordinator use TLS, or set insecure_loopback for tests",
            "连接没有 TLS（loopback）：请让协调方使用 TLS；若只是测试，可设置 insecure_loopback",
        )


def _of_sums(policy: Policy, terms: Terms, say: Say) -> Iterator[str]:
    how = build.aggregation(terms.plan)
    if not isinstance(how, SecureSum):
        if policy.secure:
            named = type(how).__name__
            yield say(
                f"the sum is no secure one ({'none: the server sees every report' if how is None else named}): let "
                "the plan state [aggregation] name = 'SecureSum'",
                f"求和不是安全求和（{'无：服务器能看到每份报告' if how is None else named}）："
                "请让计划写明 [aggregation] name = 'SecureSum'",
            )
        return
    if build.overlapping(terms.plan) is not None and not policy.mixed_models:
        yield say(
            "rounds overlap (FedBuff), so that a sum holds reports of several models, and a server that makes models "
            "for it could tell one from the others: leave [closing] out, or set sums.mixed_models = true in the policy",
            "各轮重叠（FedBuff），一个和中含有基于不同模型的报告，服务器若专门制作模型就能把某一份区分出来："
            "请去掉 [closing]，或在策略中设置 sums.mixed_models = true",
        )
    groups = groups_of(terms)
    try:
        fewest = how.fewest(sampling_of(terms), groups)
    except UsageError as error:
        yield say(f"cohorts cannot be drawn as the plan says: {error}", f"无法按计划抽取参加者：{error}")
        return
    if fewest < policy.minimum:
        yield say(
            f"sums are of {fewest} participants or more{_split(groups, say)}, and this one demands {policy.minimum}: "
            f"let the plan state [aggregation] minimum = {policy.minimum} or more, or lower sums.minimum",
            f"每个和至少含 {fewest} 个参与方{_split(groups, say)}，而本参与方要求 {policy.minimum} 个："
            f"请让计划写明 [aggregation] minimum = {policy.minimum} 或更大，或降低 sums.minimum",
        )
    yield from _of_strength(policy, how, say)


def _split(groups: int, say: Say) -> str:
    if groups == 1:
        return ""
    return say(
        f" (a cohort is split into {groups} groups, each with a sum of its own)",
        f"（每轮参加者分为 {groups} 组，各组单独求和）",
    )


def _of_strength(policy: Policy, how: SecureSum, say: Say) -> Iterator[str]:
    if how.corrupt < policy.corrupt:
        yield say(
            f"sums hold where {how.corrupt:g} of the participants are corrupt, and this one assumes "
            f"{policy.corrupt:g}: let the plan state a larger corrupt",
            f"求和在 {how.corrupt:g} 的参与方合谋时仍安全，而本参与方假定 {policy.corrupt:g}："
            "请让计划写明更大的 corrupt",
        )
    if how.sigma < policy.sigma:
        yield say(
            f"sigma of the sums is {how.sigma}, and this participant demands {policy.sigma}: let the plan state it",
            f"求和的 sigma 为 {how.sigma}，而本参与方要求 {policy.sigma}：请让计划写明",
        )
    if how.insecure_unsigned and not policy.insecure_unsigned:
        yield say(
            "participants have no identities (insecure_unsigned): the server could invent all others. Leave it out",
            "参与方没有身份（insecure_unsigned）：服务器可以虚构所有其他参与方。请去掉该项",
        )
    if how.insecure_honest_server and not policy.insecure_honest_server:
        yield say(
            "sums hold against an honest server only (insecure_honest_server): leave it out",
            "求和只在服务器诚实时安全（insecure_honest_server）：请去掉该项",
        )


def _of_privacy(
    policy: Policy, terms: Terms, costs: tuple[Cost, ...] | None, spending: Spending | None, now: datetime, say: Say
) -> Iterator[str]:
    try:
        found = costs_of(terms) if costs is None else costs
    except (PrivacyError, UsageError) as error:
        yield say(f"the plan's promise of privacy cannot be kept: {error}", f"计划的隐私承诺无法兑现：{error}")
        return
    private = all(cost.private for cost in found)
    if not private and policy.without == "refuse":
        yield say(
            "the plan has no differential privacy, or noise that can be foreseen, and this participant refuses that "
            "(privacy.without): let the plan state [privacy] epsilon and clip",
            "计划没有差分隐私，或噪声可以预知，而本参与方拒绝这种计划（privacy.without）："
            "请让计划写明 [privacy] epsilon 和 clip",
        )
    if policy.epsilon is None:
        return
    cap = f"{policy.epsilon:g}"
    if not private:
        yield say(
            f"nothing bounds what the plan costs, and this participant has a cap of epsilon {cap}: let "
            "the plan state [privacy] epsilon and clip, or leave privacy.epsilon out of the policy",
            f"计划的代价没有上限，而本参与方的 epsilon 上限为 {cap}：请让计划写明 [privacy] epsilon 和 clip，"
            "或从策略中去掉 privacy.epsilon",
        )
        return
    if spending is None:
        yield say(
            f"this participant has a cap of epsilon {cap}, and no ledger was given to hold the plan "
            "against it: name the dataset",
            f"本参与方的 epsilon 上限为 {cap}，但没有可供核对的账本：请写明数据集名称",
        )
        return
    for cost in found:
        reason = spending.refusal(cost, now, terms.run, say)
        if reason is not None:
            yield reason
