"""Standard output whose failures are errors that a user can act on, and not surprises at the end of the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from tacit.errors import StorageError


class Output:
    """A text stream that says of itself that it cannot be written. A reader that has left is not its concern."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes like any stream.

        Raises:
            StorageError: the system refuses it, as where a disk is full.
        """
        if text == "":  # typer asks in this way what kind of stream it is, and lets the answer be an error
            return 0
        with self._told():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flushes like any stream. Raises as `write` does."""
        with self._told():
            self._stream.flush()

    def close_down(self) -> None:
        """Lets what is left after a failure go nowhere, or Python would complain of it when it ends."""
        if self._failed:
            self.give_up()

    def give_up(self) -> None:
        """Lets what is left go nowhere."""
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # no file behind it: nothing is left over
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed = True
            reason = error.strerror or str(error)
            raise StorageError(
                f"standard output cannot be written ({reason}): free some space, or write elsewhere"
            ) from error


@contextmanager
def told_output() -> Iterator[Output]:
    """Standard output as an `Output`, until the end of the block."""
    stream = sys.stdout
    output = Output(stream)
    sys.stdout = cast(TextIO, output)
    try:
        yield output
    finally:
        sys.stdout = stream
        output.close_down()
