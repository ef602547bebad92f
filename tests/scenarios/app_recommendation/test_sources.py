from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tacit.errors import DataError
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.sources import Columns, read_log
from tests.scenarios.app_recommendation.test_tables import tar_of

LSAPP = """user_id\tsession_id\ttimestamp\tapp_name\tevent_type
0\t1\t2018-01-16 06:01:05\tGoogle\tOpened
0\t1\t2018-01-16 06:01:09\tGoogle\tClosed
0\t1\t2018-01-16 06:02:00\tPhone\tOpened
1\t2\t2018-01-17 23:00:00\tMail\tOpened
1\t2\t2018-01-17 23:00:05\tMail\tUser Interaction
"""
FRAPPE = """user\titem\tcnt\tdaytime\tweekday\tisweekend\thomework\tcost\tweather\tcountry\tcity
0\t0\t1\tmorning\tsunday\tweekend\tunknown\tfree\tsunny\tSpain\t0
0\t1\t20\tevening\tmonday\tworkday\thome\tpaid\tsunny\tSpain\t0
1\t1\t2\tmorning\tsunday\tweekend\tunknown\tfree\tunknown\tItaly\t3
"""


def pairs(log: InteractionLog) -> list[tuple[str, str]]:
    return [(log.users[u], log.items[i]) for u, i in zip(log.user, log.item, strict=True)]


@pytest.mark.parametrize("packing", ["plain", "gzip", "tar"])
def test_lsapp_keeps_the_openings_however_it_is_packed(tmp_path: Path, packing: str):
    path = tmp_path / "lsapp.tsv.gz"
    content = {"plain": LSAPP.encode(), "gzip": gzip.compress(LSAPP.encode()), "tar": tar_of({"lsapp.tsv": LSAPP})}
    path.write_bytes(content[packing])
    log = read_log(path)
    assert pairs(log) == [("0", "Google"), ("0", "Phone"), ("1", "Mail")]
    assert np.diff(log.time)[0] == 55.0
    assert "2 of 5 records are not openings" in log.notes[0]


def test_lsapp_without_openings_is_refused(tmp_path: Path):
    path = tmp_path / "lsapp.tsv"
    path.write_text(LSAPP.replace("Opened", "Broken"))
    with pytest.raises(DataError, match="no event_type is 'Opened'"):
        read_log(path)


def test_frappe_has_context_but_no_time_and_never_shows_the_price_of_the_app(tmp_path: Path):
    path = tmp_path / "frappe.csv"
    path.write_text(FRAPPE)
    log = read_log(path)
    assert not log.ordered
    assert sorted(pairs(log)) == [("0", "0"), ("0", "1"), ("1", "1")]
    assert "cost" not in log.context
    weather = log.context["weather"]
    assert sorted(weather.names[c] for c in weather.codes) == ["sunny", "sunny", "unknown"]


def test_movielens_takes_titles_from_the_file_beside_it(tmp_path: Path):
    with gzip.open(tmp_path / "ratings.csv.gz", "wt") as stream:
        stream.write("userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,10,4.0,1260759100\n")
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n10,"Heat, The (1995)",Crime\n31,Alive,Drama\n')
    assert pairs(read_log(tmp_path)) == [("1", "Heat, The (1995)"), ("1", "Alive")]


def test_any_table_is_read_with_a_mapping(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("who,what,when,mood\nann,chess,2026-01-05 08:00:00,glad\nann,mail,2026-01-05 07:00:00,sad\n")
    log = read_log(path, Columns("who", "what", "when", ("mood",)))
    assert pairs(log) == [("ann", "mail"), ("ann", "chess")]
    assert log.time.tolist() == [1767596400.0, 1767600000.0]
    assert [log.context["mood"].names[c] for c in log.context["mood"].codes] == ["sad", "glad"]


def test_an_app_that_is_called_none_is_an_app(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("u,i,t\na,None,1\na,NA,2\nnull,7,3\n")
    assert pairs(read_log(path, Columns("u", "i", "t"))) == [("a", "None"), ("a", "NA"), ("null", "7")]


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_the_unit_of_a_numeric_time_follows_from_its_size(tmp_path: Path, factor: int):
    path = tmp_path / "mine.csv"
    path.write_text(f"u,i,t\na,x,{1767600000 * factor}\na,y,{1767600060 * factor}\n")
    assert read_log(path, Columns("u", "i", "t")).time.tolist() == [1767600000.0, 1767600060.0]


def test_times_with_a_zone_keep_their_local_clock(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("u,i,t\na,x,2026-01-05T08:00:00+08:00\na,y,2026-01-05T09:00:00+08:00\n")
    log = read_log(path, Columns("u", "i", "t"))
    assert (log.time % 86400 / 3600).tolist() == [8.0, 9.0]


def hours(path: Path, *times: str) -> tuple[list[float], tuple[str, ...]]:
    path.write_text("u,i,t\n" + "".join(f"a,{k},{time}\n" for k, time in enumerate(times)))
    log = read_log(path, Columns("u", "i", "t"))
    return (log.time % 86400 / 3600).tolist(), log.notes


@pytest.mark.parametrize("zone", ["+01:00", "+0100", "+01", " +01:00", "Z"])
def test_where_the_offset_changes_the_clock_on_the_wall_is_kept_and_a_note_says_so(tmp_path: Path, zone: str):
    other = "+01:00" if zone == "Z" else "+02:00"
    read, notes = hours(tmp_path / "t.csv", f"2026-03-29T01:30:00{zone}", f"2026-03-29T03:15:00.5{other}")
    assert read == pytest.approx([1.5, 3.25 + 0.5 / 3600])
    assert any("2 offsets from UTC" in note and "less than 60 minutes apart" in note for note in notes)


def test_times_are_read_with_and_without_microseconds_and_so_are_dates(tmp_path: Path):
    read, notes = hours(tmp_path / "t.csv", "2026-01-05", "2026-01-05T08:00:00", "2026-01-05T09:00:00.250000")
    assert read == pytest.approx([0.0, 8.0, 9.0 + 0.25 / 3600])
    assert not notes


def test_dates_that_are_not_iso_are_all_read_in_the_format_of_the_first(tmp_path: Path):
    assert hours(tmp_path / "t.csv", "20/03/2026 08:00", "21/03/2026 09:00")[0] == [8.0, 9.0]
    with pytest.raises(DataError, match=r"1 times in 't' cannot be read, the first is '20/03/2026 09:00' in row 2"):
        hours(tmp_path / "t.csv", "05/03/2026 08:00", "20/03/2026 09:00", "06/03/2026 09:00")


def test_a_mapping_that_does_not_fit_names_every_problem(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("user,item,when\n,x,yesterday\nb,,1767600000\nc,z,1767600000\n")
    with pytest.raises(DataError) as caught:
        read_log(path, Columns("user", "item", "when"))
    message = str(caught.value)
    assert "3 problems" in message
    assert all(word in message for word in ("no user", "no item", "'yesterday'"))
    path.write_text("user,item,when\na,x,1767600000\nb\nc,z,NA\nd,z,1767600000\n")
    with pytest.raises(DataError) as caught:
        read_log(path, Columns("user", "item", "when"))
    message = str(caught.value)
    assert "1 rows have no time in 'when', the first is row 2" in message
    assert "1 times in 'when' cannot be read, the first is 'NA' in row 3" in message
    assert "nan" not in message
    with pytest.raises(DataError, match="did you mean 'user'"):
        read_log(path, Columns("users", "item"))


def test_an_unknown_format_lists_its_columns_and_the_options(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("who,what\na,x\n")
    with pytest.raises(DataError) as caught:
        read_log(path)
    assert all(word in str(caught.value) for word in ("'who'", "'what'", "--user", "--context"))


def test_a_name_that_is_neither_a_dataset_nor_a_file_lists_what_there_is():
    with pytest.raises(DataError, match="synthetic, lsapp"):
        read_log("syntetic")
    with pytest.raises(DataError, match="holds no interactions"):
        read_log("mnist")


def test_names_of_digits_stay_what_is_written_and_whole_numbers_keep_their_order(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("who,app,at\n007,Maps,1\n7,Mail,2\n007,Mail,3\n")
    log = read_log(path, Columns(user="who", item="app", time="at"))
    assert log.users == ("007", "7")
    path.write_text("who,app,at\n10,Maps,1\n9,Mail,2\n")
    assert read_log(path, Columns(user="who", item="app", time="at")).users == ("9", "10")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lsapp.tsv", LSAPP.split("\n")[0] + "\n{}\t1\t2018-01-16 06:01:05\tGoogle\tOpened" * 2),
        ("frappe.csv", FRAPPE.split("\n")[0] + "\n{}\t0\t1\ta\tb\tc\td\te\tf\tg\th" * 2),
        ("ratings.csv", "userId,movieId,rating,timestamp" + "\n{},31,2.5,1260759144" * 2),
    ],
)
def test_two_users_of_a_known_format_that_differ_in_leading_zeros_are_two(tmp_path: Path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text.format("007", "7"))
    assert read_log(path).users == ("007", "7")


NUMBERS = ["10", "9", "7", "10", "11"]


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series(NUMBERS),
        pd.Series(NUMBERS).astype("int32"),
        pd.Series(NUMBERS).astype("Int64"),
        pd.Series(NUMBERS).astype("float64"),
        pd.Series(NUMBERS).astype("category"),
        pd.Series(NUMBERS).astype("int64").astype("category"),
        pd.Series([n.encode() for n in NUMBERS]),
    ],
    ids=["text", "integers", "nullable", "floats", "categories", "categories of integers", "bytes"],
)
def test_the_same_table_gives_the_same_log_in_csv_and_in_parquet(tmp_path: Path, ids: pd.Series):
    table = pd.DataFrame({"u": ids, "i": ids[::-1].to_numpy(), "t": range(5), "c": ids})
    table.to_parquet(tmp_path / "t.parquet")
    pd.DataFrame({"u": NUMBERS, "i": NUMBERS[::-1], "t": range(5), "c": NUMBERS}).to_csv(tmp_path / "t.csv")
    mapping = Columns("u", "i", "t", ("c",))
    mine, other = (read_log(tmp_path / f"t.{kind}", mapping) for kind in ("parquet", "csv"))
    assert mine.users == other.users == mine.items == ("7", "9", "10", "11")
    assert mine.context["c"].names == other.context["c"].names
    assert np.array_equal(mine.context["c"].codes, other.context["c"].codes)
    assert pairs(mine) == pairs(other)


def test_names_in_parquet_that_are_no_text_are_refused_and_empty_ones_are_missing(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"u": [b"\xff\xfe", b"b"], "i": ["x", "y"]}).to_parquet(path)
    with pytest.raises(DataError, match=r"t\.parquet: 'u' holds bytes that are not UTF-8 text"):
        read_log(path, Columns("u", "i"))
    pd.DataFrame({"u": ["", "b"], "i": ["x", "y"]}).to_parquet(path)
    with pytest.raises(DataError, match="1 rows have no user in 'u', the first is row 1"):
        read_log(path, Columns("u", "i"))
