"""The app recommender as a scenario: its tables in a plan, the federation they make, and its standing at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from tacit.errors import DataError, Problems, UsageError
from tacit.learning.task import Task
from tacit.plan import Conflict, Part, Plan, Section
from tacit.population.population import Population, some
from tacit.population.schema import Schema
from tacit.scenarios.app_recommendation import agreed
from tacit.scenarios.app_recommendation.comparison import METHODS, Summary, compare
from tacit.scenarios.app_recommendation.defaults import (
    CLIP,
    DAY,
    EPSILON,
    PRIVATE_COHORT,
    SYNTHETIC,
    defaults,
    source,
    training,
)
from tacit.scenarios.app_recommendation.evaluation import validation_metrics
from tacit.scenarios.app_recommendation.features import FeatureRule
from tacit.scenarios.app_recommendation.inspection import digest, faulty, inspect, taking_part
from tacit.scenarios.app_recommendation.local import train_local
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.model import RecommendationModel, interest, loss_named
from tacit.scenarios.app_recommendation.phones import Phones, PhonesRule, own_examples, phones
from tacit.scenarios.app_recommendation.pooled import train_pooled
from tacit.scenarios.app_recommendation.ranking import METRICS
from tacit.scenarios.app_recommendation.recommendation import recommended
from tacit.scenarios.app_recommendation.sources import MAIN_FILE, Columns, read_log
from tacit.scenarios.app_recommendation.splits import SplitRule
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs
from tacit.scenarios.scenario import Advice, Standing

HEADLINE = "HR@10"
WIDEST = 65536
COHORT = ("selection.cohort", "selection.name", "data.source", "data.phones", "data.split.unseen")
"""What decides whether a cohort can be filled."""
WATCHED = ("loss", "update_norm", *(f"test_{name}" for name in METRICS))


@dataclass(frozen=True)
class Source:
    """Where the logs come from.

    Attributes:
        source: "synthetic", a dataset that `tacit data` lists, or the path of a table.
    """

    source: str = SYNTHETIC

    def __post_init__(self) -> None:
        with Problems("the data cannot be read", UsageError) as problems:
            problems.check(bool(self.source), "source is empty: give synthetic, a dataset's name or a path")

    @property
    def path(self) -> Path | None:
        """The file behind the source; None for the generator.

        Raises:
            DataError: it is not at hand.
        """
        from tacit.scenarios import datasets

        if self.source == SYNTHETIC:
            return None
        if self.source in datasets.names():
            if self.source not in MAIN_FILE:
                raise DataError(
                    f"{self.source} holds no interactions: datasets of this scenario are {', '.join(_known())}"
                )
            return datasets.locate(self.source)[MAIN_FILE[self.source]]
        path = Path(self.source).expanduser()
        inside = (path / f"{name}{end}" for name in MAIN_FILE.values() for end in ("", ".gz"))
        return next((p for p in inside if p.is_file()), path) if path.is_dir() else path


@dataclass(frozen=True)
class Table:
    """How to read a table, and which one it was.

    Attributes:
        user, item, time: columns of a table of your own; empty where its format is known.
        context: further columns of it that are known before the item is.
        sha256: of the file behind `source`, or none; written when a run starts, and held against the file afterwards.
    """

    user: str = ""
    item: str = ""
    time: str = ""
    context: tuple[str, ...] = ()
    sha256: str | None = None

    def __post_init__(self) -> None:
        with Problems("the data cannot be read", UsageError) as problems:
            mapped = bool(self.time or self.context or self.user or self.item)
            both = bool(self.user) and bool(self.item)
            problems.check(not mapped or both, "user and item go together: name the columns of both")

    @property
    def columns(self) -> Columns | None:
        """The mapping, or None where the format is known."""
        return Columns(self.user, self.item, self.time or None, self.context) if self.user else None


@dataclass(frozen=True)
class Network:
    """The multilayer perceptron.

    Attributes:
        hidden: widths of the hidden layers.
    """

    hidden: tuple[int, ...] = (256, 128)

    def __post_init__(self) -> None:
        with Problems("the model cannot be made", UsageError) as problems:
            good = bool(self.hidden) and all(1 <= width <= WIDEST for width in self.hidden)
            remedy = f"give widths from 1 to {WIDEST:,}, one for each hidden layer"
            problems.check(good, f"hidden is {list(self.hidden)!r}: {remedy}")


class AppRecommendation:
    """Phones learn together which app their user wants next. See `tacit.scenarios.scenario.Scenario`."""

    def sections(self, given: Mapping[str, Any]) -> Mapping[str, Section]:
        """`data` with `data.split` and `data.features`, and `model`."""
        kind: type = SyntheticLogs
        other: type = Table
        why = "it is about a table: name its path as the source"
        if source(given) != SYNTHETIC:
            kind, other = other, kind
            why = 'it is about the generator: it goes with source = "synthetic"'
        data = Section(
            kinds=(Source, kind, PhonesRule),
            without=frozenset({"loss", "horizon", "split", "features"}),
            tables={"split": Section((SplitRule,)), "features": Section((FeatureRule,))},
            elsewhere=dict.fromkeys(Section((other,)).fields, why),
        )
        outside = frozenset({"vocabulary", "most_examples", "exclude_seen", "split", "features"})
        return {"data": data, "model": Section((Network, PhonesRule), outside)}

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Chosen on the validation parts of the synthetic logs and of MovieLens.

        Blocks of features have length 1, so gradients are small: a server whose steps do not depend on their size,
        after gentle local runs, comes nearest to pooled training. The gradient of a squared error is a mean over all
        items, so it is smaller still. Methods that average need larger local steps. Among a thousand films that nobody
        sees twice, phones agree least, and one full-batch step each serves best.
        """
        return defaults(given)

    def problems(self, plan: Plan) -> list[Conflict]:
        """A cohort that no population of this plan can fill, and a rule that waits for what is never measured."""
        from tacit.plan import build

        found = []
        if plan.data["source"] == SYNTHETIC:
            most = taking_part(plan.data["phones"], plan.data["split"]["unseen"])
            found = [Conflict(COHORT, text) for text in build.selection(plan).problems(most)]
        patience = plan.stop.patience
        if patience and patience["metric"] not in WATCHED:
            metric = patience["metric"]
            text = f"metric is {metric!r}, which is not measured: choose from {', '.join(WATCHED)}"
            found.append(Conflict(("stop.patience.metric",), text))
        return found

    def look(self, plan: Plan) -> list[Conflict]:
        """See `Scenario.look`."""
        try:
            path = Source(plan.data["source"]).path
            if path is None:
                return []
            if not path.is_file():
                digest(path, _known())
        except DataError as error:
            return [faulty(error)]
        own = self.sections({"data": dict(plan.data)})
        return inspect(plan, path, Table(**own["data"].of(Table, plan.data)).columns)

    def settle(self, plan: Plan) -> Plan:
        """See `Scenario.settle`."""
        source = Source(plan.data["source"])
        path = source.path
        if path is None:
            return plan
        found, known = digest(path, _known()), plan.data["sha256"]
        if known not in (None, found):
            raise DataError(
                f"{path} is not the file that the plan was made with: its sha256 is {found}, not {known}. "
                "Bring that file back, or remove the line sha256 from the plan to run with this one"
            )
        named = {"source": str(path.resolve())} if Path(source.source).expanduser().exists() else {}
        return plan.model_copy(update={"data": Plan.frozen({**plan.data, **named, "sha256": found})})

    def twin(self, plan: Plan, clients: int) -> Plan:
        """See `Scenario.twin`."""
        if plan.private:
            chosen = training({"data": plan.data, "model": plan.model}, private=False)["selection"]
            return plan.model_copy(update={"privacy": None, "record_privacy": None, "selection": _part(chosen)})
        drawn = {"name": "Poisson", "expected": PRIVATE_COHORT} if clients > PRIVATE_COHORT else {"name": "Everyone"}
        level = {"name": "UserLevel", "epsilon": EPSILON, "clip": CLIP}
        none = plan.stop.model_copy(update={"patience": None, "converged": None})
        made = {
            "privacy": _part(level),
            "selection": _part(drawn),
            "stop": none,
            "closing": _waiting(plan),
            "pool": None,
        }
        return plan.model_copy(update=made)

    def prepare(self, plan: Plan) -> PreparedPhones:
        """See `Scenario.prepare`."""
        own, source = self.sections({"data": dict(plan.data)}), plan.data["source"]
        if source == SYNTHETIC:
            log = SyntheticLogs(**own["data"].of(SyntheticLogs, plan.data)).log(plan.seed)
        else:
            log = read_log(source, Table(**own["data"].of(Table, plan.data)).columns, seed=plan.seed)
        prepared = PreparedPhones.of(log, self._rule(plan), plan.model["hidden"], plan.seed)
        if source != SYNTHETIC and plan.data["sha256"]:  # the same people, whatever features are made of their log
            prepared.population.known_as = f"sha256:{plan.data['sha256']}"
        return prepared

    def _rule(self, plan: Plan) -> PhonesRule:
        own = self.sections({"data": dict(plan.data)})
        return PhonesRule(
            **own["data"].of(PhonesRule, plan.data),
            **own["model"].of(PhonesRule, plan.model),
            split=SplitRule(**plan.data["split"]),
            features=FeatureRule(**plan.data["features"]),
        )

    def schema(self, plan: Plan) -> Schema:
        """See `Deployable.schema`."""
        return agreed.schema_of(self.prepare(plan).phones)

    def task(self, plan: Plan, schema: Schema) -> Task:
        """See `Deployable.task`."""
        features = agreed.features_in(schema)
        return task_for(features.size, len(features.items), plan.model["hidden"], self._rule(plan).loss, plan.seed)

    def own(self, plan: Plan, schema: Schema, source: str) -> tuple[Any, Any]:
        """See `Deployable.own`."""
        if source.startswith(f"{SYNTHETIC}:"):
            population, name = self.prepare(plan).population, source.removeprefix(f"{SYNTHETIC}:")
            if name not in population.ids:
                raise DataError(
                    f"there is no made-up client {name!r} that takes part: there are {some(population.ids)}"
                )
            return population[name]
        rule, features = self._rule(plan), agreed.features_in(schema)
        x, y = own_examples(read_log(source, None, seed=plan.seed), rule, features)
        return x, y if rule.loss == "cross_entropy" else interest(y, len(features.items), horizon=rule.horizon)


@dataclass(frozen=True)
class PreparedPhones:
    """The scenario with its data at hand. See `tacit.scenarios.scenario.Prepared`."""

    phones: Phones
    task: Task
    seed: int

    @classmethod
    def of(cls, log: InteractionLog, rule: PhonesRule, hidden: tuple[int, ...], seed: int) -> PreparedPhones:
        """Cuts the log into phones and makes the model for them."""
        made = phones(log, rule=rule, seed=seed)
        made.population.synthetic = log.synthetic

        return cls(made, task_for(made.features, made.apps, hidden, rule.loss, seed), seed)

    @property
    def population(self) -> Population:
        """The phones that take part."""
        return self.phones.population

    @property
    def source(self) -> str:
        """What the log is."""
        return self.phones.log.source

    @property
    def synthetic(self) -> bool:
        """Whether the log comes from the generator."""
        return self.phones.log.synthetic

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the log."""
        return self.phones.notes

    @property
    def headline(self) -> str:
        """HR@10."""
        return HEADLINE

    def validation(self) -> Callable[[nn.Module], Mapping[str, float]]:
        """The ranking metrics on the validation part."""
        return validation_metrics(self.phones)

    def standing(self, model: nn.Module, *, full: bool, workers: int) -> Standing:
        """Beside the naive recommenders and, if `full`, pooled and local-only training."""
        pooled, local = partial(train_pooled, seed=self.seed), partial(train_local, seed=self.seed, workers=workers)
        found = compare(
            self.phones,
            model,
            self.task.model,
            pooled=pooled if full else None,
            local=local if full else None,
        )
        return Standing(
            metrics=METRICS,
            headline=HEADLINE,
            test=_scores(found.test),
            unseen=_scores(found.unseen),
            intervals=_intervals(found.test),
            unseen_intervals=_intervals(found.unseen),
            notes=self._remarks(found.chosen),
        )

    def _remarks(self, chosen: Mapping[str, int]) -> tuple[str, ...]:
        remarks = [f"{name.replace('_', ' ')} chosen on the validation part: {n}" for name, n in chosen.items()]
        if not self.phones.log.ordered:
            remarks.append("most recent and Markov need an order of events, which these data do not have")
        return tuple(remarks)

    def card(self) -> Mapping[str, Sequence[str]]:
        """The feature columns in, the apps out."""
        return {"inputs": self.phones.schema.names, "outputs": self.phones.vocabulary.names}

    def recommend(self, model: nn.Module, user: str, *, top: int, at: float | None) -> Advice:
        """See `Recommends.recommend`."""
        return recommended(self.phones, model, user, top=top, at=at)


def task_for(features: int, items: int, hidden: tuple[int, ...], loss: str, seed: int) -> Task:
    """The recommender for so many columns and items, with models of less width for weak devices."""

    def model(width: float = 1.0) -> RecommendationModel:
        """The model, with so much of the width of its hidden layers."""
        narrow = tuple(max(1, round(width * units)) for units in hidden)
        return RecommendationModel(features, items, narrow, seed=seed)

    return Task(model(), loss_named(loss), narrowed=model)


def _part(chosen: Mapping[str, Any]) -> Part:
    return Part(name=chosen["name"], fields={name: value for name, value in chosen.items() if name != "name"})


def _waiting(plan: Plan) -> Part | None:
    """How rounds of a plan's private twin are closed: on phones they wait, as those of a private plan do by default."""
    closing = plan.closing
    if closing is None or plan.fleet is None or plan.fleet.name != "Phones" or "patience" not in closing.fields:
        return closing
    patience = closing.fields["patience"] or DAY
    return closing.model_copy(update={"fields": Plan.frozen({**closing.fields, "patience": patience})})


def _scores(summaries: Mapping[str, Summary | None]) -> dict[str, dict[str, float] | None]:
    kept = {name: summaries.get(name) for name in METHODS}
    return {n: None if s is None else {metric: float(s[metric]) for metric in METRICS} for n, s in kept.items()}


def _intervals(summaries: Mapping[str, Summary | None]) -> dict[str, tuple[float, float]]:
    return {name: (float(s["ci"][0]), float(s["ci"][1])) for name, s in summaries.items() if s is not None}


def _known() -> tuple[str, ...]:
    """What may be named as a source besides a file."""
    from tacit.scenarios import datasets

    return (SYNTHETIC, *(name for name in MAIN_FILE if name in datasets.names()))
