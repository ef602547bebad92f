"""A real PostgreSQL server of the tests' own: on a socket in a folder of its own, without a port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = [str(folder / name) for folder in folders if (folder / name).exists()] or [shutil.which(name)]
    if found[0] is None:
        pytest.skip(f"PostgreSQL is not installed here: there is no {name}")
    return found[0]


class Server:
    """Started, stopped and restarted by tests. Root may not run it, so another user does."""

    def __init__(self) -> None:
        initdb, self._control = _program("initdb"), _program("pg_ctl")
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._as = {}
        if os.geteuid() == 0:
            users = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = users.get("postgres") or users["nobody"]
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._run(initdb, "-D", str(self.folder / "data"), "-A", "trust", "-U", "tacit", "--no-sync", "-E", "UTF8")
        self.start()
        self._made = 0

    def _run(self, *command: str) -> None:
        said = self.folder / "said"
        with said.open("ab") as out:
            subprocess.run(command, check=True, cwd=self.folder, stdout=out, stderr=out, **self._as)

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off -c max_connections=50"
        self._run(self._control, "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run(self._control, "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def database(self) -> str:
        """The address of a new, empty schema: a database each would be a thousand files."""
        self._made += 1
        with psycopg.connect(f"host={self.folder} user=tacit dbname=postgres") as connection:
            connection.execute(f"CREATE SCHEMA s{self._made}")
        return f"postgresql+psycopg://tacit@/postgres?host={self.folder}&options=-csearch_path=s{self._made}"

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
