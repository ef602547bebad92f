"""What a run leaves: the model, its history, and how it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tacit.checks import PATH, count, is_path
from tacit.errors import Problems, StorageError, UsageError
from tacit.population.population import as_tensor
from tacit.record import checkpoint
from tacit.record.rows import row_problems

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
    _filled: nn.Module | None = field(default=None, repr=False, compare=False)

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
        """The trained model: the same object each time, with the trained weights and in evaluation mode at first.

        Raises:
            UsageError: the run was loaded without a model to put its weights into.
        """
        if self.module is None:
            raise UsageError("a saved run holds weights, not code: load it with Run.load(folder, model=YourModel(...))")
        if self._filled is self.module:
            return self.module
        state = dict(self.module.state_dict())
        # Buffers that a model does not save, but that travelled, were saved all the same: the model needs them.
        others = {n: b for n, b in self.module.named_buffers() if n in self.tensors and n not in state}
        own = state | others
        differs = sorted(set(own) ^ set(self.tensors))
        differs += [n for n, t in self.tensors.items() if n in own and own[n].shape != t.shape]
        if differs:
            raise UsageError(
                f"the weights do not fit this model, which differs in {', '.join(differs[:5])}: "
                "load the run with the model that it trained"
            )
        self.module.load_state_dict({name: self.tensors[name] for name in state})
        for name, buffer in others.items():
            buffer.copy_(self.tensors[name])
        self._filled = self.module.eval()
        return self.module

    def predict(self, x: Any, batch_size: int = 1024) -> Tensor:
        """The model's output for `x` (R, ...), in evaluation mode, computed in batches without gradients.

        Raises:
            DataError: `x` is no array of numbers.
            UsageError: the model does not take inputs of that shape or type, or the run has no model.
        """
        model, inputs = self.model, as_tensor(x)
        dtype = next(p.dtype for p in model.parameters())
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        with Problems("nothing can be predicted", UsageError) as problems:
            problems.check(inputs.dim() > 0, f"x is the number {x!r}: give rows of inputs, (R, ...)")
            problems.extend(count("batch_size", batch_size))
        training = model.training
        try:
            with torch.no_grad():
                model.eval()
                return torch.cat([model(part.clone()) for part in torch.split(inputs, int(batch_size))])
        except Exception as error:  # whatever the user's model raises on these inputs is the finding
            shape = f"x {tuple(inputs.shape)} {inputs.dtype}"
            raise UsageError(f"the model fails on {shape}: {error}. Give inputs like those it learned from") from error
        finally:
            model.train(training)

    def report(self, path: str | Path) -> Path:
        """Writes one self-contained HTML file with plots and tables, readable offline. Returns its path.

        Raises:
            UsageError: `path` is none, or is a folder.
            StorageError: no space, no permission.
        """
        from tacit.record.report import write

        file = _path(path)
        if file.is_dir():
            raise UsageError(f"{file} is a folder: give a file, such as {file / 'report.html'}")
        try:
            return write(self, file)
        except OSError as error:
            raise StorageError(f"{file} cannot be written: {error}") from error

    def save(self, folder: str | Path) -> Path:
        """Writes `model.safetensors`, `history.csv` and `run.json` into `folder`, each atomically.

        Raises:
            StorageError: no space, no permission.
        """
        folder = _path(folder)
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
            UsageError: `model` is none.
            StorageError: files that are missing, truncated, damaged or of another version.
        """
        folder, given = _path(folder), model
        if given is not None and not isinstance(given, nn.Module):
            raise UsageError(f"model is {model!r}: give a torch.nn.Module, as it was before the training")
        with Problems(f"{folder} is not a saved run", StorageError) as problems:
            for name in ("model.safetensors", "run.json"):
                problems.check((folder / name).is_file(), f"{folder / name} is missing")
        path = folder / "run.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise StorageError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise StorageError(f"{path} is not of version {VERSION}: read it with the tacit that wrote it")
        rows: Any = content.get("rows")
        facts: Any = content.get("facts")
        with Problems(f"{path} is damaged: bring back a copy of the run", StorageError) as problems:
            problems.extend(row_problems(rows))
            known = isinstance(facts, dict) and isinstance(facts.get("engine"), str)
            problems.check(known, "its facts do not name the engine of the run")
        return Run(checkpoint.load_tensors(folder / "model.safetensors"), rows, facts, model)


def _path(path: str | Path) -> Path:
    if not is_path(path):
        raise UsageError(f"the path is {path!r}: {PATH}")
    return Path(path)
