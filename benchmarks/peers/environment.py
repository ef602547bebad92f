"""One virtual environment per peer, made from the package registry and kept under `.bench/`.

Peers pin packages that contradict each other and contradict tacit (protobuf, rich, jax), so none of them may share an
environment. An environment is made once, under a name that hashes its requirements: changing a requirement makes a new
one. `python -m benchmarks.peers.environment` makes all of them and prints what was installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Environment:
    """What a peer needs: its `requirements` for pip, and the `pythons` (newest first) that it supports.

    `shown` names the distributions whose versions go into the results.
    """

    peer: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the environment lies."""
        key = blake2b(json.dumps([self.requirements, self.pythons]).encode(), digest_size=4).hexdigest()
        return cache() / "environments" / f"{self.peer}-{key}"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"


ENVIRONMENTS = {
    "flower": Environment(
        # The simulation extra pins the one Ray version that this flwr accepts.
        "flower",
        ("flwr[simulation]==1.41.0", TORCH, "numpy"),
        ("3.13", "3.12", "3.11"),
        ("flwr", "ray", "torch", "numpy"),
    ),
    "pfl": Environment(
        # The PyTorch extra of pfl 0.6 names torch for macOS as well; on Linux it adds nothing but torch itself.
        "pfl",
        ("pfl[pytorch]==0.6.0", TORCH, "numpy"),
        ("3.12", "3.11", "3.10"),
        ("pfl", "torch", "numpy"),
    ),
    "fedjax": Environment(
        # fedjax 0.0.17 is the last release and uses names that later versions of jax, haiku and SciPy removed.
        "fedjax",
        ("fedjax==0.0.17", "jax==0.4.23", "jaxlib==0.4.23", "dm-haiku==0.0.10", "optax<0.2", "chex<0.1.86",
         "scipy<1.12", "numpy<2"),
        ("3.11", "3.10", "3.9"),
        ("fedjax", "jax", "jaxlib", "dm-haiku", "numpy"),
    ),
    "opacus": Environment(
        "opacus",
        ("opacus==1.6.0", TORCH, "numpy"),
        ("3.13", "3.12", "3.11"),
        ("opacus", "torch", "numpy"),
    ),
}  # fmt: skip


class EnvironmentUnavailable(Exception):
    """A peer's environment could not be made here. The message says why, for the peer's row in the results."""


def cache() -> Path:
    """The folder for environments and logs: `.bench/` of the checkout, or `$TACIT_BENCH_CACHE`. Ignored by git."""
    folder = Path(os.environ.get("TACIT_BENCH_CACHE", ROOT / ".bench"))
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder


def ensure(environment: Environment) -> Path:
    """The interpreter of `environment`, which is made first where it does not exist yet.

    Raises:
        EnvironmentUnavailable: no supported Python is on PATH, or pip could not install the requirements.
    """
    complete = environment.folder / "versions.json"
    if complete.exists():
        return environment.python
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    base = _supported_python(environment)
    print(f"making the environment of {environment.peer} in {environment.folder}", file=sys.stderr, flush=True)
    _call(environment, [base, "-m", "venv", str(environment.folder)])
    pip = [str(environment.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call(environment, [*pip, *environment.requirements])
    complete.write_text(json.dumps(_installed(environment)))
    return environment.python


def versions(environment: Environment) -> dict[str, str]:
    """Versions of the distributions that matter in a made `environment`, and of its Python."""
    found: dict[str, str] = json.loads((environment.folder / "versions.json").read_text())
    return found


def _supported_python(environment: Environment) -> str:
    """The running interpreter where the peer supports it, else the newest supported one on PATH."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running in environment.pythons:
        # A virtual environment's interpreter would lend its own site-packages' folder; its base does not.
        return str(Path(sys.base_prefix) / "bin" / f"python{running}")
    for version in environment.pythons:
        found = shutil.which(f"python{version}")
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    wanted = " or ".join(environment.pythons)
    raise EnvironmentUnavailable(f"{environment.peer} needs Python {wanted}; this is {running}, and none is on PATH")


def _call(environment: Environment, command: list[str]) -> None:
    """Runs `command`; what it printed goes into the error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise EnvironmentUnavailable(f"{environment.peer} could not be installed: {last}")


def _installed(environment: Environment) -> dict[str, str]:
    """Asks the environment's own interpreter for its versions."""
    program = (
        "import sys, json; from importlib.metadata import version; "
        "print(json.dumps({'python': sys.version.split()[0], **{n: version(n) for n in sys.argv[1:]}}))"
    )
    command = [str(environment.python), "-c", program, *environment.shown]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentUnavailable(f"{environment.peer} was installed incompletely: {done.stderr.strip()[-300:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Makes the environments named as arguments (all without arguments) and prints their versions."""
    for name in sys.argv[1:] or list(ENVIRONMENTS):
        environment = ENVIRONMENTS[name]
        try:
            ensure(environment)
        except EnvironmentUnavailable as reason:
            print(f"{name}: not available: {reason}")
        else:
            print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in versions(environment).items()))


if __name__ == "__main__":
    main()
