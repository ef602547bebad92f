"""What a run leaves: the model, its history, and how it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tacit.errors import Problems, StorageError, UsageError
from tacit.record import checkpoint

if TYPE_CHECKING:
    import pandas

VERSION = 1


@dataclass
class Run:
    """The outcome of `Federation.run`.

    Attributes:
        tensors: the trained parameters and buffers by their names in the model.
        rows: one record a round.
        facts: how the run was made: seed, engine, workers, plan, versions, why it ended.
        module: the model class's instance, needed by `model` and `predict`; None after `load` without a model.
    """

    tensors: dict[str, Tensor]
    rows: list[dict[str, Any]]
    facts: dict[str, Any]
    module: nn.Module | None = field(default=None, repr=False)

    @property
    def history(self) -> pandas.DataFrame:
        """One row per round: loss, metrics, clients, examples, seconds by phase, bytes down and up, set aside."""
        import pandas

        return pandas.DataFrame(self.rows)

    @property
    def engine(self) -> str:
        """The engine that ran the local steps."""
        return str(self.facts["engine"])

    @property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode.

        Raises:
            UsageError: the run was loaded without a model to put its weights into.
        """
        if self.module is None:
            raise UsageError("a saved run holds weights, not code: load it with Run.load(folder, model=YourModel(...))")
        own = dict(self.module.state_dict())
        differs = sorted(set(own) ^ set(self.tensors))
        differs += [n for n, t in self.tensors.items() if n in own and own[n].shape != t.shape]
        if differs:
            raise UsageError(
                f"the weights do not fit this model, which differs in {', '.join(differs[:5])}: "
                "load the run with the model that it trained"
            )
        self.module.load_state_dict(self.tensors)
        return self.module.eval()

    def predict(self, x: Any, batch_size: int = 1024) -> Tensor:
        """The model's output for `x` (R, ...), computed in batches without gradients."""
        model = self.model
        dtype = next(p.dtype for p in model.parameters())
        inputs = torch.as_tensor(x)
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        with torch.no_grad():
            return torch.cat([model(part) for part in torch.split(inputs, batch_size)])

    def report(self, path: str | Path) -> Path:
        """Writes one self-contained HTML file with plots and tables, readable offline. Returns its path."""
        from tacit.record.report import write

        return write(self, Path(path))

    def save(self, folder: str | Path) -> Path:
        """Writes `model.safetensors`, `history.csv` and `run.json` into `folder`, each atomically.

        Raises:
            StorageError: no space, no permission.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {folder} cannot be made: {error}") from error
        checkpoint.save_tensors(folder / "model.safetensors", self.tensors)
        checkpoint.save_text(folder / "history.csv", self.history.to_csv(index=False))
        content = {"version": VERSION, "facts": self.facts, "rows": self.rows}
        checkpoint.save_text(folder / "run.json", json.dumps(content, indent=1))
        return folder

    @staticmethod
    def load(folder: str | Path, model: nn.Module | None = None) -> Run:
        """Reads what `save` wrote. Give `model` to have `run.model` and `run.predict`; no code is ever loaded.

        Raises:
            StorageError: files that are missing, truncated or of another version.
        """
        folder = Path(folder)
        with Problems(f"{folder} is not a saved run", StorageError) as problems:
            for name in ("model.safetensors", "run.json"):
                problems.check((folder / name).is_file(), f"{folder / name} is missing")
        try:
            content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{folder / 'run.json'} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise StorageError(
                f"{folder / 'run.json'} is not of version {VERSION}: read it with the tacit that wrote it"
            )
        return Run(checkpoint.load_tensors(folder / "model.safetensors"), content["rows"], content["facts"], model)
