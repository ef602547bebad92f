"""The comparison that belongs beside every federated result: the same phones, moments and metrics for everyone.

| name          | what it is                                                                    |
|---------------|-------------------------------------------------------------------------------|
| federated     | the model that was trained by the federation                                  |
| pooled        | the same model trained on everybody's data in one place (`pooled.py`)         |
| local         | one model for each phone, trained on that phone alone (`local.py`)            |
| most_popular  | what the training phones used most                                            |
| most_frequent | what this user used most so far                                               |
| most_recent   | what this user used last                                                      |
| markov        | what followed this user's last item on the training phones                    |

`test` is the last part of each participating phone's log; `unseen` are phones that no shared model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from tacit.scenarios.app_recommendation.baselines import baselines
from tacit.scenarios.app_recommendation.evaluation import evaluate
from tacit.scenarios.app_recommendation.local import Local, train_local
from tacit.scenarios.app_recommendation.phones import PhoneExamples, Phones
from tacit.scenarios.app_recommendation.pooled import Pooled, train_pooled
from tacit.scenarios.app_recommendation.ranking import rank_in_blocks

METHODS = ("federated", "pooled", "local", "most_popular", "most_frequent", "most_recent", "markov")
Summary = dict[str, Any]
"""`HR@1`, `HR@5`, `HR@10`, `MRR@10`, `NDCG@10`, and `ci`: the 95 % interval of HR@10 over users."""


@dataclass(frozen=True)
class Comparison:
    """Every method on the same moments; None where a method does not exist (no order of events, or not asked for).

    Attributes:
        test: on the participating phones.
        unseen: on the phones kept apart.
        chosen: what was chosen on the validation part: epochs of pooled and local training.
    """

    test: dict[str, Summary | None]
    unseen: dict[str, Summary | None]
    chosen: dict[str, int] = field(default_factory=dict)

    def winner(self, metric: str = "HR@10") -> str:
        """The method that is best on `test`."""
        scores = {name: summary[metric] for name, summary in self.test.items() if summary is not None}
        return max(scores, key=lambda name: scores[name])


def compare(
    phones: Phones,
    federated: nn.Module,
    initial: nn.Module,
    *,
    pooled: Callable[[Phones, nn.Module], Pooled] | None = train_pooled,
    local: Callable[[Phones, nn.Module], Local] | None = train_local,
) -> Comparison:
    """Evaluates the federated model beside everything it should be held against.

    Args:
        phones: whose moments.
        federated: the trained model.
        initial: the untrained model, from which pooled and local training start too.
        pooled: trains the pooled model; None leaves it out.
        local: trains the local models; None leaves them out.
    """
    central = pooled(phones, initial) if pooled else None
    alone = local(phones, initial) if local else None
    models = {"federated": federated, "pooled": central.model if central else None}
    rankings = {"test": alone.test, "unseen": alone.unseen} if alone else {}
    results = {}
    for name, examples in (("test", phones.test), ("unseen", phones.unseen)):
        results[name] = {
            **{k: evaluate(phones, m, examples).summary() if m is not None else None for k, m in models.items()},
            "local": rankings[name].summary() if rankings else None,
            **naive(phones, examples),
        }
    chosen = {"pooled_epochs": central.epochs} if central else {}
    chosen |= {"local_epochs": alone.epochs} if alone else {}
    return Comparison(results["test"], results["unseen"], chosen)


def naive(phones: Phones, examples: PhoneExamples) -> Mapping[str, Summary | None]:
    """The naive recommenders on `examples`."""
    excluded = partial(phones.excluded, examples)
    return {
        name: rank_in_blocks(scores, examples.y, examples.user, excluded).summary() if scores else None
        for name, scores in baselines(phones, examples).items()
    }
