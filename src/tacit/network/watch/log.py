"""What a coordinator or a participant writes down as it happens: one line per event, its names stable.

For machines a line is a JSON object with "at" (UTC), "level", "event", and the facts of the event; on a terminal it is
written for people. Fields that would hold a secret are refused, whoever gives them.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from tacit.errors import StorageError, UsageError
from tacit.network.watch.rarely import Rarely

NAME = "tacit"
EVENTS: Mapping[str, tuple[int, str]] = {
    "coordinator.started": (logging.INFO, "It listens: address, tls, journal."),
    "coordinator.stopping": (logging.INFO, "It was told to stop, and lets end what is under way."),
    "coordinator.stopped": (logging.INFO, "It has stopped."),
    "coordinator.failed": (logging.ERROR, "It cannot go on: problem."),
    "run.opened": (logging.INFO, "A run begins: run, terms, scenario, rounds."),
    "run.resumed": (logging.INFO, "A run goes on after a restart: run, round."),
    "run.finished": (logging.INFO, "All rounds are done: run, rounds, seconds."),
    "run.failed": (logging.ERROR, "The run has ended before its last round: run, round, reason."),
    "security.insecure": (logging.WARNING, "An unsafe setting is on: setting."),
    "participant.enrolled": (logging.INFO, "A participant was taken in: participant."),
    "participant.approved": (logging.INFO, "A participant has approved the terms: participant."),
    "participant.declined": (logging.WARNING, "A participant does not take part: participant, reason."),
    "participant.online": (logging.INFO, "A participant checked in that was away: participant."),
    "participant.gone": (logging.WARNING, "Nothing was heard of a participant any more: participant."),
    "participant.withdrew": (logging.INFO, "A participant has withdrawn its consent: participant."),
    "participant.revoked": (logging.WARNING, "The operator has revoked a participant: participant, reason."),
    "round.opened": (logging.INFO, "An attempt begins: round, attempt, cohort (how many)."),
    "round.published": (logging.INFO, "A round is done: round, attempt, counted, seconds."),
    "round.abandoned": (logging.WARNING, "An attempt was given up: round, attempt, reason."),
    "step.closed": (logging.INFO, "A step takes no further answers: round, attempt, kind, asked, answered, seconds."),
    "answer.lost": (logging.WARNING, "A participant did not answer: round, attempt, participant, kind, cause, text."),
    "request": (logging.DEBUG, "A request ended well: route, method, status, received, sent, seconds."),
    "request.refused": (logging.INFO, "A request was refused: the same, and code."),
    "request.malformed": (logging.INFO, "What came is no request: status, times since the line before (1 s at least)."),
    "connection.refused": (logging.INFO, "A connection was refused: refused (why), times since the line before."),
    "journal.failing": (logging.ERROR, "Nothing can be written: problem."),
    "journal.recovered": (logging.INFO, "Writing works again."),
    "disk.low": (logging.WARNING, "Little space is left: folder, free (bytes)."),
    "loop.late": (logging.WARNING, "The event loop is late: seconds."),
    "message": (logging.INFO, "What a library says: logger, text."),
}
"""Every event: its level, and what it means with its facts. Names are not changed; new ones may come."""
OF_STRANGERS = {"connection": "connection.refused", "malformed": "request.malformed"}
"""Events that anybody can cause who reaches the port, by what a server calls them."""
SECRET = re.compile(r"token|secret|signature|password|passphrase|credential|nonce|authorization|cookie|(^|_)keys?($|_)")
REFUSED = "[refused: secrets are not logged]"
LONGEST = 2000
"""Most characters of a fact: peers may send long ones."""
BYTES, FILES = 50_000_000, 5
"""Size at which a file is put aside, and how many of those are kept."""


class Log:
    """Writes events to the handlers that `opened` has set up; without any, nowhere.

    Args:
        name: of the logger.
        rarely: how often events are told that strangers can cause; once a second each when None.
    """

    def __init__(self, name: str = f"{NAME}.network", rarely: Rarely | None = None) -> None:
        self._logger, self._rarely = logging.getLogger(name), rarely or Rarely()

    def __call__(self, event: str, **facts: Any) -> None:
        """Writes an event.

        Args:
            event: one of EVENTS.
            facts: about it; fields with a secret's name are refused, bytes are written as their count.

        Raises:
            UsageError: there is no such event.
        """
        if event not in EVENTS:
            raise UsageError(f"there is no event {event!r}: it is one of {', '.join(EVENTS)}")
        level = EVENTS[event][0]
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"tacit_event": event, "tacit_facts": allowed(facts)})

    def observe(self, event: str, **facts: Any) -> None:
        """What a server tells of requests and connections, as events; what strangers can cause is told rarely."""
        if event == "request":
            self("request.refused" if facts.get("code") else "request", **facts)
        elif event in OF_STRANGERS:
            times = self._rarely.times(event, *facts.values())
            if times:
                self(OF_STRANGERS[event], **facts, times=times)


def allowed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they may be written: JSON values, none of them a secret."""
    return {name: REFUSED if SECRET.search(name.lower()) else _plain(value) for name, value in facts.items()}


def opened(
    where: Path | TextIO | None = None, *, human: bool | None = None, level: int = logging.INFO
) -> logging.Handler:
    """Sets up where events of this process go, in place of where they went.

    Args:
        where: a file, which is put aside at 50 MB, five times; or a stream; None is standard error.
        human: lines for people; None where the stream is a terminal.
        level: of the least important events.

    Raises:
        StorageError: the file cannot be written.
    """
    if isinstance(where, Path):
        try:
            where.parent.mkdir(parents=True, exist_ok=True)
            handler: logging.Handler = RotatingFileHandler(where, maxBytes=BYTES, backupCount=FILES, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"the log {where} cannot be written: {error}") from error
        handler.setFormatter(Lines() if not human else Words())
    else:
        stream = sys.stderr if where is None else where
        handler = logging.StreamHandler(stream)
        handler.setFormatter(Words() if (stream.isatty() if human is None else human) else Lines())
    logger = logging.getLogger(NAME)
    for before in list(logger.handlers):
        logger.removeHandler(before)
        before.close()
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return handler


class Lines(logging.Formatter):
    """A JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; facts never replace what every line has."""
        event, facts = _said(record)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": at, "level": record.levelname.lower(), "event": event}
        line.update((name, value) for name, value in facts.items() if name not in line)
        return json.dumps(line, ensure_ascii=True, allow_nan=False)


class Words(logging.Formatter):
    """A line for people: time, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever a peer put into a fact."""
        event, facts = _said(record)
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname} "
        said = "  ".join(f"{_one_line(name)}={_one_line(value)}" for name, value in facts.items())
        return f"{at}  {mark}{event:<22}  {said}".rstrip()


def _said(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """An event and its facts; what was written without any is a message."""
    event = getattr(record, "tacit_event", None)
    if event is not None:
        facts: dict[str, Any] = getattr(record, "tacit_facts", {})
        return event, facts
    facts = {"logger": record.name, "text": _plain(record.getMessage())}
    if record.exc_info and record.exc_info[1] is not None:
        facts["traceback"] = logging.Formatter().formatException(record.exc_info)[-4 * LONGEST :]
    return "message", facts


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return allowed({str(name): part for name, part in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in list(value)[:100]]
    return str(value)[:LONGEST]


def _one_line(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
