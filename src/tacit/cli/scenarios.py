"""`tacit scenarios`: what there is to run."""

from __future__ import annotations

EXAMPLES = """\b
Examples:
  tacit scenarios
  tacit plan show app-recommendation     everything that can be set
"""


def scenarios() -> None:
    """List the ready-made federations."""
    from tacit.cli import console
    from tacit.scenarios.scenario import REGISTRY

    console.facts((name, entry.about) for name, entry in REGISTRY.items())
