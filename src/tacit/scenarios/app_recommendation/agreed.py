"""The columns of the recommender as a schema that all participants of a network agree on, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tacit.errors import MalformedMessage, TacitError
from tacit.population.schema import Schema
from tacit.scenarios.app_recommendation.features import FeatureRule, FeatureSchema
from tacit.scenarios.app_recommendation.phones import Phones


def schema_of(phones: Phones) -> Schema:
    """What every phone's examples look like: columns and items, nothing that anybody did."""
    columns, items = phones.schema, phones.vocabulary.names
    classes = phones.rule.loss == "cross_entropy"
    rule = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(columns.rule).items()}
    own = {"rule": rule, "context": _plain(columns.context), "profile": _plain(columns.profile)}
    shape = () if classes else (len(items),)
    return Schema(columns.names, (columns.size,), "float32", shape, "int64" if classes else "float32", items, own)


def features_in(schema: Schema) -> FeatureSchema:
    """The columns in a schema.

    Raises:
        MalformedMessage: it is of something else.
    """
    own = schema.own
    try:
        told: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in dict(own["rule"]).items()}
        rule = FeatureRule(**told)
        known = ({str(n): tuple(map(str, names)) for n, names in own[part].items()} for part in ("context", "profile"))
        found = FeatureSchema(schema.outputs, rule, *known)
    except (KeyError, TypeError, AttributeError, TacitError) as error:
        raise MalformedMessage(f"the schema is not one of the app recommender: {error}") from None
    if found.names != schema.inputs:
        raise MalformedMessage("the schema names other columns than its rule makes: write it anew with this tacit")
    return found


def _plain(columns: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {name: list(names) for name, names in columns.items()}
