"""Ranks by a model: what it puts first at each moment, without what cannot come next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from tacit.scenarios.app_recommendation.model import scores_of
from tacit.scenarios.app_recommendation.phones import PhoneExamples, Phones
from tacit.scenarios.app_recommendation.ranking import METRICS, Ranking, rank_in_blocks


def evaluate(phones: Phones, model: nn.Module, examples: PhoneExamples) -> Ranking:
    """The ranks of what really came next, by `model`, at the moments of `examples`."""
    return rank_in_blocks(
        lambda rows: scores_of(model, examples.x[rows]),
        examples.y,
        examples.user,
        partial(phones.excluded, examples),
    )


def validation_metrics(phones: Phones) -> Callable[[nn.Module], dict[str, float]]:
    """A function for `Federation.run(test=...)`: the ranking metrics on the validation part.

    The names come out as `test_HR@10` and so on in a run's history, where "test" means what is measured after a round.
    The test part itself is never touched while training.
    """

    def metrics(model: nn.Module) -> dict[str, float]:
        measured = evaluate(phones, model, phones.validation).metrics()
        return {name: measured[name] for name in METRICS}

    return metrics
