"""Reading a table that somebody else wrote: CSV, TSV or Parquet, plain, gzip'd, or the one table in a tar.gz.

The fields of a text table are separated by commas, tabs, semicolons or `|`; only an empty field is a missing value, for
an app may be called None or NA. A row with more fields than the head is refused: which field belongs to which column
would be a guess.

What a file is follows from its first bytes, not from its name (LSApp's `lsapp.tsv.gz` is a tar archive). Nothing is
written to disk: members of an archive are read as streams and their paths are never used. No size that a file claims
is trusted: reading stops at a limit.
"""

from __future__ import annotations

import csv
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tacit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 8 * 2**30
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".data")
SEPARATORS = (b"\t", b",", b";", b"|")
NOT_SEPARATORS = {b" ": "spaces", b":": "colons"}


class Bounded(io.RawIOBase):
    """A stream that refuses to give more than `most` bytes: a small archive may unpack to anything."""

    def __init__(self, stream: IO[bytes] | GzipFile, name: str, most: int) -> None:
        self._stream, self._name, self._most, self._read = stream, name, most, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Reads like any stream.

        Raises:
            DataError: more than `most` bytes came out.
        """
        data = self._stream.read(len(buffer))
        self._read += len(data)
        if self._read > self._most:
            raise DataError(f"{self._name}: more than {self._most:,} bytes unpacked: this is not taken for a table")
        buffer[: len(data)] = data
        return len(data)


def column_names(path: Path, *, most_bytes: int = MOST_BYTES) -> list[str]:
    """The names in the head of a table.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    if _is_parquet(path):
        return [str(name) for name in _read_parquet_names(path)]
    frame = _read_text(path, None, most_bytes, rows=0)
    return [str(name) for name in frame.columns]


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, names: Sequence[str] = (), most_bytes: int = MOST_BYTES
) -> pd.DataFrame:
    """The table at `path`, or some columns of it.

    Args:
        path: CSV, TSV or Parquet; text may be gzip'd or the one table in a tar.gz.
        columns: what to read; None for all. The first line of a text table names the columns.
        names: columns whose values name somebody or something: 007 and 7 are two of them, and the same values give
            the same names from text and from Parquet.
        most_bytes: text is unpacked up to here.

    Raises:
        DataError: the file is missing, unreadable, truncated or empty, columns are missing (with the nearest names), or
            rows have more fields than the head, or names are bytes that are no text.
    """
    present = column_names(path, most_bytes=most_bytes)
    if columns is not None:
        lacking = missing_columns(present, columns)
        if lacking:
            raise DataError(
                f"{path.name} lacks columns ({len(lacking)}):\n" + "\n".join(f"  - {line}" for line in lacking)
            )
    wanted = None if columns is None else list(dict.fromkeys(columns))
    if _is_parquet(path):
        frame = _read_parquet(path, wanted)
    else:
        _check_fields(path, most_bytes)
        frame = _read_text(path, wanted, most_bytes, names=names)
    if len(frame) == 0:
        raise DataError(f"{path.name} has a head but no rows: give a table with at least one interaction")
    return frame.assign(**{name: _whole(_text(path, frame[name])) for name in names})


def missing_columns(present: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """A sentence for each wanted column that is not there, with the nearest that is."""
    lines = []
    for name in dict.fromkeys(wanted):
        if name not in present:
            near = get_close_matches(name, present, n=2, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(map(repr, present))}"
            )
            lines.append(f"no column {name!r}: {hint}")
    return lines


def _is_parquet(path: Path) -> bool:
    return _head(path, 4) == b"PAR1"


def _head(path: Path, count: int) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a folder: give the table in it")
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except FileNotFoundError:
        near = get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ": check the path"
        raise DataError(f"there is no file {str(path)!r}{hint}") from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error


def _read_parquet_names(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name} begins like a Parquet file but cannot be read ({error}): fetch it again"
        ) from error


def _read_parquet(path: Path, columns: list[str] | None) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path, columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path.name} begins like a Parquet file but cannot be read ({error}): fetch it again"
        ) from error


def _text(path: Path, column: pd.Series) -> pd.Series:
    """Names as text, whatever a Parquet file keeps them as; an empty one is missing.

    Raises:
        DataError: they are bytes that are not UTF-8.
    """
    try:
        text = (column.astype(object) if column.dtype == "category" else column).astype("str")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: {column.name!r} holds bytes that are not UTF-8 text ({error}): write them as text"
        ) from error
    return text.mask(text == "")


def _whole(column: pd.Series) -> pd.Series:
    """Text as whole numbers where every value is one as it is written, so that 9 comes before 10; else as it is.

    Whole numbers that are all written with a decimal point count as well: so pandas writes them where one is missing.
    """
    given = column.dropna()
    if len(given) and given.str.endswith(".0").all():
        column, given = column.str.removesuffix(".0"), given.str.removesuffix(".0")
    if not len(given) or not given.str.fullmatch("0|-?[1-9][0-9]{0,17}").all():
        return column
    return column.astype("int64" if len(given) == len(column) else "Int64")


def _read_text(
    path: Path, columns: list[str] | None, most_bytes: int, rows: int | None = None, names: Sequence[str] = ()
) -> pd.DataFrame:
    import pandas as pd

    with _readable(path), ExitStack() as stack:
        stream = _open_text(path, most_bytes, stack)
        return pd.read_csv(
            stream,
            sep=_separator(path, stream),
            usecols=(lambda _: True) if columns is None else columns,  # None warns of fields that are checked elsewhere
            index_col=False,  # or a first row with a field too many would shift every column by one
            nrows=rows,
            dtype=dict.fromkeys(names, str),
            encoding="utf-8-sig",
            low_memory=False,
            keep_default_na=False,
            na_values=[""],
        )


def _check_fields(path: Path, most_bytes: int) -> None:
    """Lets an empty last field pass that every row has beyond those of the head.

    Raises:
        DataError: rows have more fields than the head; pandas would drop them without a word.
    """
    rows = wrong = empty = 0
    first = ""
    with _readable(path), ExitStack() as stack:
        stream = _open_text(path, most_bytes, stack)
        separator = _separator(path, stream)
        reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), delimiter=separator)
        head = next(reader)
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            rows += 1
            if len(row) > len(head):
                wrong += 1
                empty += len(row) == len(head) + 1 and not row[-1].strip()
                first = first or f"row {rows} (line {reader.line_num}) has {len(row)} fields"
    if wrong and empty < rows:
        count = "1 row has" if wrong == 1 else f"{wrong:,} rows have"
        raise DataError(
            f"{path.name}: {count} more fields than the head, which has {len(head)}; the first: {first}. "
            f"Put a value that holds {separator!r} in double quotes, or give every column a name in the head"
        )


def _separator(path: Path, stream: io.BufferedReader[Bounded]) -> str:
    """What stands between the names in the head.

    Raises:
        DataError: there is no head, or it has one name only; with what seems to separate its names.
    """
    head = stream.peek(65536).split(b"\n", 1)[0]
    if not head.strip():
        raise DataError(f"{path.name} is empty: give a table whose first line names its columns")
    separator = max(SEPARATORS, key=head.count)
    if separator in head:
        return separator.decode()
    text = head.decode("utf-8-sig", errors="replace").strip()
    seems = next((f" (its values seem to be separated by {n})" for s, n in NOT_SEPARATORS.items() if s in head), "")
    raise DataError(
        f"{path.name} has a head of one column, {text[:80]!r}{seems}: name at least two, separated by commas, tabs, "
        "semicolons or '|'"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what reading a text table may raise into a DataError that says what to do."""
    import pandas as pd

    try:
        yield
    except (EOFError, zlib.error, BadGzipFile, tarfile.TarError) as error:
        raise DataError(
            f"{path.name} is truncated or damaged ({error}): fetch it again and compare its sha256"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text ({error}): convert it") from error
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"{path.name} is not a table of separated values: {str(error).strip()}") from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error


def _open_text(path: Path, most_bytes: int, stack: ExitStack) -> io.BufferedReader[Bounded]:
    """The bytes of the table, unpacked."""
    stream: IO[bytes] | GzipFile = stack.enter_context(path.open("rb"))
    if _head(path, 2) == b"\x1f\x8b":
        stream = stack.enter_context(GzipFile(fileobj=stream))
    reader = stack.enter_context(io.BufferedReader(Bounded(stream, path.name, most_bytes), 65536))
    if reader.peek(512)[257:262] != b"ustar":
        return reader
    archive = stack.enter_context(tarfile.TarFile.open(fileobj=reader, mode="r|"))
    for member in archive:
        name = Path(member.name).name
        if member.isfile() and not name.startswith(".") and name.lower().endswith(TABLE_SUFFIXES):
            table = archive.extractfile(member)
            if table is not None:
                return stack.enter_context(io.BufferedReader(Bounded(table, path.name, most_bytes), 65536))
    raise DataError(f"{path.name} is an archive without a table in it (looked for {', '.join(TABLE_SUFFIXES)})")
