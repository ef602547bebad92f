"""The processes of the benchmark of the network: started, asked, looked at in /proc, and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.network_host import Job
from tacit.network.identity.invitation import Invitation, new_token

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A program of this benchmark that is told by lines of JSON, and answers so.

    Args:
        module: of the program.
        first: its first line.
        log: file of what it says beside.
    """

    def __init__(self, module: str, first: Any, log: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(log.parent)}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        self.log = log
        self.tell(first)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def tell(self, line: Any) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next line.

        Raises:
            RuntimeError: it ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process ended: {self.log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, line: Any) -> dict[str, Any]:
        """Sends a line, and reads what is answered."""
        self.tell(line)
        return self.hear()

    def memory(self) -> float:
        """Resident memory, MB (1e6 bytes)."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
        return int(lines["Rss"].split()[0]) * 1024 / 1e6

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def close(self, seconds: float = 20.0) -> None:
        """Ends it in good order, if it has not ended."""
        if self.alive:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Host(Process):
    """A coordinator.

    Args:
        job: what it is started with.
    """

    def __init__(self, job: Job) -> None:
        Path(job.folder).mkdir(parents=True, exist_ok=True)
        super().__init__("benchmarks.network_host", asdict(job), Path(job.folder) / "host.log")
        told = self.hear()
        self.url, self.authority = str(told["url"]), bytes.fromhex(told["authority"])
        place = None if job.certificates is None else Path(job.certificates) / "ca.pem"
        self.ca = None if place is None else pin(place)

    def invitations(self, count: int) -> list[str]:
        """So many, each for one participant."""
        tokens = [new_token() for _ in range(count)]
        self.ask({"tokens": tokens})
        return [Invitation(self.url, token, self.authority, self.ca).text for token in tokens]

    def ended(self) -> str | None:
        """Waits until the run has ended; how it did."""
        found: str | None = self.hear()["ended"]
        return found


def pin(place: Path) -> bytes:
    """A certificate as an invitation has it (DER)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(place.read_bytes()).public_bytes(Encoding.DER)


def certificates(folder: Path) -> str:
    """Makes certificates for this machine."""
    from tacit.network.identity.certs import make_certificates

    make_certificates(folder, ["localhost", "127.0.0.1"])
    return str(folder)


class Silos(Process):
    """Participants, together in one process.

    Args:
        folder: in which each has one of its own.
        who: name, place and invitation (None where it is enrolled) of each.
        size: of the model.
        log: file of what they say.
        secure: whether they take part in secure sums alone.
    """

    def __init__(
        self, folder: Path, who: Sequence[tuple[str, int, str | None]], size: int, log: Path, *, secure: bool = True
    ) -> None:
        told = {"folder": str(folder), "participants": [list(one) for one in who], "size": size, "secure": secure}
        super().__init__("benchmarks.network_silos", told, log)
