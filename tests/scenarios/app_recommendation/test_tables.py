from __future__ import annotations

import csv
import gzip
import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DataError
from tacit.scenarios.app_recommendation.tables import column_names, read_table

CSV = "user,item,time\na,x,1\nb,y,2\n"


def tar_of(members: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


LONG = {
    "the first row": ("user,item,time\nu,Maps, Inc,1\nb,y,2\n", r"1 row has more.*row 1 \(line 2\) has 4 fields"),
    "a later row": ("user,item,time\na,x,1\n\nb,y,2,,3\n", r"1 row has more.*row 2 \(line 4\) has 5 fields"),
    "every row": ("user,item,time\n7,a,x,1\n8,b,y,2\n", r"2 rows have more.*row 1 \(line 2\) has 4 fields"),
    "an empty field, not in every row": ("user,item,time\nu,Maps, Inc,\nb,y,2\n", r"row 1 \(line 2\) has 4 fields"),
    "two empty fields in every row": ("user,item,time\na,x,1,,\nb,y,2,,\n", r"row 1 \(line 2\) has 5 fields"),
}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.txt", "t.parquet", "odd.name"])
def test_a_table_is_read_by_its_content_whatever_its_name(tmp_path: Path, name: str):
    path = tmp_path / name
    if name.endswith("parquet"):
        pd.read_csv(io.StringIO(CSV)).to_parquet(path)
    else:
        text = CSV.replace(",", "\t") if "tsv" in name else CSV
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert column_names(path) == ["user", "item", "time"]
    assert read_table(path, ["user", "time"]).to_numpy().tolist() == [["a", 1], ["b", 2]]


def test_the_table_of_a_tar_archive_is_read_without_using_its_path(tmp_path: Path):
    path = tmp_path / "logs.tsv.gz"
    path.write_bytes(tar_of({"._logs.tsv": "junk", "readme.md": "hello", "../../escaped.tsv": CSV.replace(",", "\t")}))
    assert len(read_table(path)) == 2
    assert [p.name for p in tmp_path.rglob("*")] == ["logs.tsv.gz"]
    assert not (tmp_path.parent.parent / "escaped.tsv").exists()


def test_an_archive_without_a_table_says_what_was_looked_for(tmp_path: Path):
    path = tmp_path / "logs.tar.gz"
    path.write_bytes(tar_of({"readme.md": "hello"}))
    with pytest.raises(DataError, match="archive without a table"):
        read_table(path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode())
    assert read_table(path)["user"].tolist() == ["a", "b"]


def test_missing_columns_are_all_named_with_the_nearest(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    with pytest.raises(DataError) as caught:
        read_table(path, ["usr", "items", "weather"])
    message = str(caught.value)
    assert "'usr': did you mean 'user'?" in message
    assert "'items': did you mean 'item'" in message
    assert "no column 'weather'" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"user,item\n", "no rows"),
        (gzip.compress(CSV.encode() * 500, mtime=0)[:-20], "truncated or damaged"),
        (b"\x1f\x8bnot gzip at all", "truncated or damaged"),
        (b"user,item\n\xff\xfe,x\n", "not UTF-8"),
        (b"user,item\na,b\n1,2,3,4\n", "more fields than the head"),
        (b'user,item\na,"b\n', "not a table"),
        (b"PAR1 and then nonsense", "Parquet"),
    ],
    ids=["empty", "no rows", "cut gzip", "false gzip", "not UTF-8", "ragged", "open quote", "false Parquet"],
)
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_table(path)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path):
    (tmp_path / "ratings.csv").write_text(CSV)
    with pytest.raises(DataError, match=r"did you mean 'ratings\.csv'"):
        read_table(tmp_path / "rating.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


def test_unpacking_stops_at_the_limit(tmp_path: Path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + b"a,b\n" * 300_000))
    with pytest.raises(DataError, match="more than 100,000 bytes"):
        read_table(path, most_bytes=100_000)


@pytest.mark.parametrize(("text", "reason"), LONG.values(), ids=LONG)
@pytest.mark.parametrize("columns", [None, ["user", "time"]], ids=["all", "some"])
@pytest.mark.filterwarnings("error")
def test_a_row_with_more_fields_than_the_head_is_refused(
    tmp_path: Path, text: str, reason: str, columns: list[str] | None
):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        read_table(path, columns)


@pytest.mark.parametrize("columns", [None, ["user", "item", "time"]], ids=["all", "some"])
@pytest.mark.filterwarnings("error")
def test_a_delimiter_at_the_end_of_every_row_shifts_no_column(tmp_path: Path, columns: list[str] | None):
    path = tmp_path / "t.csv"
    path.write_text("user,item,time\na,x,1,\nb,y,2,\n")
    assert read_table(path, columns).to_dict("list") == {"user": ["a", "b"], "item": ["x", "y"], "time": [1, 2]}


def test_a_quoted_field_may_hold_the_delimiter_and_the_end_of_a_line(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text('user,item\na,"Maps, Inc"\nb,"two\nlines, too"\n')
    assert read_table(path)["item"].tolist() == ["Maps, Inc", "two\nlines, too"]


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.text("ab,;|\t\n\"' ", min_size=1), min_size=width + 1, max_size=width + 1), min_size=1
        )
    ),
    st.sampled_from([",", ";", "|", "\t"]),
)
def test_what_was_written_is_read_whatever_is_in_it(rows: list[list[str]], separator: str):
    frame = pd.DataFrame(rows, columns=[f"c{k}" for k in range(len(rows[0]))])
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        frame.to_csv(path, index=False, sep=separator, quoting=csv.QUOTE_ALL)
        assert read_table(path).to_numpy().tolist() == rows


def test_an_app_may_be_called_none_and_only_an_empty_field_is_missing(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("user,item,time\na,None,1\nb,NA,2\nc,null,\nd,nan,4\ne,,5\nf\n")
    table = read_table(path)
    assert table["item"][:4].tolist() == ["None", "NA", "null", "nan"]
    assert table["item"].isna().tolist() == [False] * 4 + [True] * 2
    assert table["time"].dtype.kind == "f"
    assert table["time"].isna().tolist() == [False, False, True, False, False, True]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_commas_tabs_semicolons_and_bars_separate(tmp_path: Path, separator: str):
    path = tmp_path / "t.txt"
    path.write_text(CSV.replace(",", separator))
    assert read_table(path)["time"].tolist() == [1, 2]


@pytest.mark.parametrize(("separator", "name"), [(" ", "spaces"), ("::", "colons")])
def test_a_separator_that_is_not_understood_is_named_with_those_that_are(tmp_path: Path, separator: str, name: str):
    path = tmp_path / "t.txt"
    path.write_text(CSV.replace(",", separator))
    with pytest.raises(DataError, match=rf"separated by {name}\): .* commas, tabs, semicolons or '\|'"):
        column_names(path)
