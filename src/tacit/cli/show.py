"""`tacit show`: one run."""

from __future__ import annotations

from tacit.cli.options import Json, RunName

EXAMPLES = """\b
Examples:
  tacit show runs/demo
  tacit show runs/demo --json
"""


def show(name: RunName, json: Json = False) -> None:
    """Show the result of a run."""
    from tacit.cli import console
    from tacit.errors import StorageError
    from tacit.record.folder import opened

    folder = opened(name)
    if folder.finished:
        console.ended(folder.result, folder, json)
        return
    text = f"{folder.path} is not finished: {folder.rounds} rounds are kept. Go on with: {folder.resuming}"
    if json:
        raise StorageError(text)
    print(text)
