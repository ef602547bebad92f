"""`tacit export`: the model of a run as one file for another program, with the meaning of its columns in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.options import RunName

if TYPE_CHECKING:
    from torch import Tensor, nn

EXAMPLES = """\b
Examples:
  tacit export runs/demo
  tacit export runs/demo --format onnx --out recommender.onnx

The file says what its input and output columns mean, as JSON lists under "inputs" and "outputs": in the header of a
safetensors file, in the metadata of an ONNX one.
"""


class Format(StrEnum):
    """What the model is written as."""

    safetensors = "safetensors"
    onnx = "onnx"


Form = Annotated[Format, typer.Option("--format", help="onnx needs: pip install tacit[onnx]")]
Out = Annotated[Path | None, typer.Option(help="File to write.  [default: RUN/export.FORMAT]")]


def export(name: RunName, form: Form = Format.safetensors, out: Out = None) -> None:
    """Write the model for use elsewhere."""
    from tacit.cli.trained import trained
    from tacit.errors import UsageError
    from tacit.record.folder import opened

    if form is Format.onnx:
        _require_onnx()
    path = opened(name).path / f"export.{form.value}" if out is None else out
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder: give a file, such as {path / f'export.{form.value}'}")
    plan, prepared, model = trained(name)
    card = {key: json.dumps(list(columns), ensure_ascii=False) for key, columns in prepared.card().items()}
    card |= {"scenario": plan.scenario, "plan_hash": plan.hash, "synthetic_data": json.dumps(prepared.synthetic)}
    if form is Format.onnx:
        example = prepared.population[prepared.population.ids[0]][0][:2]
        content = _onnx(model, example, card)
    else:
        content = _safetensors(model, card)
    _write(path, content)
    print(path)


def _require_onnx() -> None:
    from importlib.util import find_spec

    from tacit.errors import UsageError

    missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise UsageError(f"ONNX needs {' and '.join(missing)}, not installed here: pip install tacit[onnx]")


def _safetensors(model: nn.Module, card: dict[str, str]) -> bytes:
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    content: bytes = save(tensors, metadata={"format": "pt", **card})
    return content


def _onnx(model: nn.Module, example: Tensor, card: dict[str, str]) -> bytes:
    import torch

    with _without_torchvision():
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            input_names=["features"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for key, text in card.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    content: bytes = proto.SerializeToString()
    return content


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Keeps torch from saying that operations of torchvision, which no model of tacit uses, cannot be exported."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")

    def needed(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("torchvision is not installed")

    logger.addFilter(needed)
    try:
        yield
    finally:
        logger.removeFilter(needed)


def _write(path: Path, content: bytes) -> None:
    from tacit.errors import StorageError

    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}") from error
