"""What a machine offers to a run: read from the system, changing nothing but a file that is removed at once.

That a private run here does what its accounting assumes is tried: see `replay`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import tempfile
import time
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tacit.cli import replay

PACKAGES = ("torch", "numpy", "scipy", "numba", "pandas", "pyarrow", "safetensors", "pydantic", "matplotlib")
EXTRAS = ("onnx", "onnxscript", "onnxruntime")
LITTLE_MEMORY, LITTLE_DISK = 2 * 2**30, 2**30
UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)


def looked_at() -> dict[str, Any]:
    """Everything that `tacit doctor` shows, as JSON values; sizes in bytes."""
    from tacit import __version__
    from tacit.scenarios import datasets

    cache = datasets.folders("synthetic")[-1].parent
    return {
        "tacit": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: _version(name) for name in EXTRAS},
        "cores": _cores(),
        "memory_bytes": _memory(),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "clock": _clock(),
        "gpu": _gpu(),
        "writable": {"here": _writable(Path.cwd()), "temporary": _writable(Path(tempfile.gettempdir()))},
        "data_folder": os.environ.get(datasets.FOLDER_VARIABLE),
        "data_cache": str(cache),
        "datasets_at_hand": [name for name in datasets.names() if not datasets.status(name).missing],
        "privacy": replay.replayed(),
    }


def findings(seen: dict[str, Any]) -> list[str]:
    """What would stand in the way of a run."""
    found = [f"{name} is not installed: pip install tacit" for name, known in seen["packages"].items() if known is None]
    memory, disk = seen["memory_bytes"]["available"], seen["disk_free_bytes"]
    if memory is not None and memory < LITTLE_MEMORY:
        found.append(f"only {memory / 2**30:.1f} GiB of memory are free: take fewer workers")
    if disk < LITTLE_DISK:
        found.append(f"only {disk / 2**30:.1f} GiB of disk are free here: checkpoints may not fit")
    if seen["clock"]["synchronised"] is False:
        found.append("the clock is not synchronised: names of runs, and times in logs, may be off")
    for place, good in seen["writable"].items():
        if not good:
            found.append(f"the {'current' if place == 'here' else 'temporary'} folder cannot be written")
    folder = seen["data_folder"]
    if folder and not Path(folder).is_dir():
        found.append(f"TACIT_DATA names {folder}, which is no folder")
    return found + replay.findings(seen["privacy"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cores() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"usable": usable, "present": os.cpu_count()}


def _memory() -> dict[str, int | None]:
    sizes: dict[str, int] = {}
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        sizes = {}
    return {"total": sizes.get("MemTotal"), "available": sizes.get("MemAvailable")}


def _clock() -> dict[str, Any]:
    now = datetime.now().astimezone()
    return {
        "now": now.isoformat(timespec="seconds"),
        "synchronised": _synchronised(),
        "resolution_seconds": time.get_clock_info("perf_counter").resolution,
    }


def _synchronised() -> bool | None:
    """What the kernel says of its clock; None where it cannot be asked."""
    try:
        ask = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    question = ctypes.create_string_buffer(256)  # struct timex with modes = 0: read, set nothing
    answer = int(ask(question))
    return None if answer < 0 else answer != UNSYNCHRONISED


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
