"""The privacy ledger: what was spent of each population's privacy, over all runs, kept outside of any of them.

A release is reserved before its noise is drawn and committed after it was made; a reserve that is never committed
counts as spent, as nobody can know how far it came. The entries form a chain of digests in one SQLite file.

What this guarantees: a reserve that has returned is on disk; two processes at once cannot spend the same budget;
an entry that was changed, removed or put in between shows; a run that is resumed with an older or another ledger is
refused, since its checkpoints hold the digest of the last entry. What it does not: whoever owns the file can delete
it or write all of it anew, and only a digest that was kept elsewhere shows that.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from tacit.privacy.account import Account
from tacit.privacy.chain import Chain, Entry
from tacit.privacy.place import place_of
from tacit.privacy.store import Store

__all__ = ["Account", "Entry", "Ledger"]


class Ledger:
    """A ledger file, opened, or made if there is none. A context manager that closes it.

    Every method of it and of its accounts reads what other processes have added, and checks the chain as far as it is
    new to this object. It may be used by several threads. The file must lie on a local disk.

    Args:
        place: the path of the file, or `sqlite:///PATH`. None: what the environment's TACIT_LEDGER says, else
            `tacit/ledger.sqlite` in the user's data folder (XDG_DATA_HOME or ~/.local/share, on macOS
            ~/Library/Application Support, on Windows LOCALAPPDATA).

    Attributes:
        place: the path of the file.

    Raises:
        UsageError: `place` is no path, or another kind of database.
        StorageError: the file cannot be made, opened or written.
        LedgerTampered: it is no ledger, damaged, or of another version.
    """

    def __init__(self, place: str | Path | None = None) -> None:
        self.place = place_of(place)
        self._store = Store(self.place)
        self._chain = Chain(self._store)

    def account(self, population: str, unit: str) -> Account:
        """What is spent of one population.

        Args:
            population: a commitment to the data, as hexadecimal text.
            unit: whose data are protected as one: "user", "record", ...
        """
        return Account(self._chain, population, unit)

    def accounts(self) -> list[Account]:
        """All that have an entry, in the order of their first ones.

        Raises:
            LedgerTampered: an entry is not as it was written.
        """
        with self._chain.held():
            return [Account(self._chain, *names) for names in self._chain.accounts()]

    def verify(self) -> None:
        """Checks every entry of the file again.

        Raises:
            LedgerTampered: one is not as it was written; the message names the first.
        """
        with self._chain.held(afresh=True):
            pass

    def close(self) -> None:
        """Closes the file; what it holds then lies in this one file, unless another process has it open."""
        self._store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
