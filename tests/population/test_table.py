"""Populations from tables: files of several kinds and data frames."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import DataError, UsageError
from tacit.population.population import Population

FRAME = pd.DataFrame(
    {
        "user": ["b", "a", "b", "c", "a", "b"],
        "age": [20, 31, 20, 44, 31, 20],
        "hours": [0.5, 1.25, -1.0, 2.0, 3.5, 0.0],
        "member": [True, False, True, True, False, True],
        "score": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    }
)
ROLES = {"client": "user", "target": "score"}


def refusal(table, **roles):
    with pytest.raises(DataError) as caught:
        Population.from_table(table, **{**ROLES, **roles})
    return str(caught.value)


def check_frame(population):
    assert population.ids == ("b", "a", "c")
    assert population.sizes.tolist() == [3, 2, 1]
    x, y = population["b"]
    assert x.tolist() == [[20.0, 0.5, 1.0], [20.0, -1.0, 1.0], [20.0, 0.0, 1.0]]
    assert y.tolist() == [1.5, 3.5, 6.5]
    assert x.is_floating_point()


def zipped(data, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.csv", data)
    return path.read_bytes()


PACKERS = {
    "t.csv": lambda data, path: data,
    "t.csv.gz": lambda data, path: gzip.compress(data),
    "t.csv.bz2": lambda data, path: bz2.compress(data),
    "t.csv.xz": lambda data, path: lzma.compress(data),
    "t.csv.zst": lambda data, path: pa.compress(data, codec="zstd", asbytes=True),
    "t.csv.zip": zipped,
    "T.CSV.GZ": lambda data, path: gzip.compress(data),
}


@pytest.mark.parametrize("name", PACKERS)
def test_delimited_files_are_read_plain_and_compressed(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(PACKERS[name](FRAME.to_csv(index=False).encode(), path))
    check_frame(Population.from_table(path, **ROLES))


@pytest.mark.parametrize("name", ["t.tsv", "t.tab", "t.tsv.gz"])
def test_tab_separated_files_are_read(name, tmp_path):
    FRAME.to_csv(tmp_path / name, sep="\t", index=False, compression="gzip" if name.endswith("gz") else None)
    check_frame(Population.from_table(str(tmp_path / name), **ROLES))


def test_parquet_files_are_read(tmp_path):
    FRAME.to_parquet(tmp_path / "t.parquet")
    check_frame(Population.from_table(tmp_path / "t.parquet", **ROLES))


def test_only_the_columns_needed_are_read_from_parquet(tmp_path):
    frame = FRAME.assign(note=["text"] * 6)
    frame.to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    place = whole.find(b"text")
    # With the column's page destroyed, reading it would fail.
    (tmp_path / "t.parquet").write_bytes(whole[: place - 8] + b"\xff" * 16 + whole[place + 8 :])
    with pytest.raises(Exception):  # noqa: B017
        pd.read_parquet(tmp_path / "t.parquet")
    check_frame(Population.from_table(tmp_path / "t.parquet", features=["age", "hours", "member"], **ROLES))


def test_a_frame_is_read_whatever_its_index_and_pandas_types():
    frame = FRAME.set_index(np.arange(6) * 10).convert_dtypes()
    check_frame(Population.from_table(frame, **ROLES))
    check_frame(Population.from_table(FRAME.convert_dtypes(dtype_backend="pyarrow"), **ROLES))
    check_frame(Population.from_table(FRAME.astype({"user": "category", "hours": "float32"}), **ROLES))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_every_row_reaches_its_client_in_the_order_of_the_table(rows):
    frame = pd.DataFrame(rows, columns=["who", "value"]).assign(place=range(len(rows)))
    population = Population.from_table(frame, client="who", target="place", features=["value"])
    assert int(population.sizes.sum()) == len(rows)
    for client in population.ids:
        x, y = population[client]
        mine = [(value, place) for place, (who, value) in enumerate(rows) if who == client]
        assert x[:, 0].tolist() == [value for value, _ in mine]
        assert y.tolist() == [place for _, place in mine]


def test_features_are_all_other_columns_unless_named():
    assert Population.from_table(FRAME, **ROLES)["a"][0].shape == (2, 3)
    x, _ = Population.from_table(FRAME, features=["hours"], **ROLES)["a"]
    assert x.tolist() == [[1.25], [3.5]]


def test_small_types_are_held_as_float32_and_others_as_float64():
    small = FRAME.astype({"age": "int16", "hours": "float32"})
    assert Population.from_table(small, **ROLES)["a"][0].dtype == torch.float32
    assert Population.from_table(FRAME, **ROLES)["a"][0].dtype == torch.float64


@pytest.mark.parametrize(
    ("target", "shape", "dtype"),
    [
        ("score", (2,), torch.float64),
        ("age", (2,), torch.int64),
        (["score"], (2, 1), torch.float64),
        (["score", "age"], (2, 2), torch.float64),
        (["age", "member"], (2, 2), torch.int64),
        (["member"], (2, 1), torch.int64),
    ],
)
def test_one_target_is_flat_and_a_list_of_targets_has_a_last_axis(target, shape, dtype):
    _, y = Population.from_table(FRAME, client="user", target=target, features=["hours"])["a"]
    assert (tuple(y.shape), y.dtype) == (shape, dtype)


@pytest.mark.parametrize("kind", ["str", "object", "category"])
def test_text_targets_become_class_numbers_in_sorted_order(kind):
    frame = FRAME.assign(score=pd.Series(["pear", "fig", "pear", "apple", "fig", "fig"]).astype(kind))
    population = Population.from_table(frame, **ROLES)
    assert population.classes == ("apple", "fig", "pear")
    assert population["b"][1].tolist() == [2, 2, 1]
    assert population.cast(torch.float32).classes == population.classes


def test_categories_of_numbers_are_sorted_as_numbers():
    frame = FRAME.assign(score=pd.Categorical([10, 9, 10, 2, 9, 9]))
    population = Population.from_table(frame, **ROLES)
    assert population.classes == ("2", "9", "10")
    assert population["b"][1].tolist() == [2, 2, 1]


def test_truth_values_are_two_classes_even_where_one_occurs():
    population = Population.from_table(FRAME.assign(score=True), **ROLES)
    assert population.classes == ("False", "True")
    assert population["a"][1].tolist() == [1, 1]


def test_numeric_targets_have_no_classes():
    assert Population.from_table(FRAME, **ROLES).classes is None


def test_client_ids_of_a_file_stay_as_they_are_written(tmp_path):
    (tmp_path / "t.csv").write_text("user,age,score\n007,1,2\nNA,1,2\n7,1,2\n1.0,1,2\n")
    assert Population.from_table(tmp_path / "t.csv", **ROLES).ids == ("007", "NA", "7", "1.0")


def test_a_byte_order_mark_and_foreign_line_ends_do_no_harm(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + FRAME.to_csv(index=False, lineterminator="\r\n").encode())
    check_frame(Population.from_table(tmp_path / "t.csv", **ROLES))


def test_decimals_are_numbers():
    from decimal import Decimal

    frame = FRAME.assign(hours=[Decimal("0.5")] * 6)
    assert Population.from_table(frame, **ROLES)["c"][0].tolist() == [[44.0, 0.5, 1.0]]


def test_missing_columns_are_named_together_with_the_nearest_ones():
    text = refusal(FRAME, client="usr", target="Score", features=["agee", "zebra"])
    assert "4 problems" in text
    assert "there is no column 'usr': did you mean 'user'?" in text
    assert "there is no column 'Score': did you mean 'score'?" in text
    assert "there is no column 'agee': did you mean 'age'?" in text
    assert "there is no column 'zebra': the table has 'user', 'age', 'hours'" in text


def test_a_column_cannot_have_two_parts():
    text = refusal(FRAME, features=["age", "score", "user", "age"])
    assert "columns 'user', 'score', 'age' are named more than once" in text


def test_a_target_or_a_feature_is_needed():
    assert "no target is named" in refusal(FRAME, target=[])
    assert "no column is left as a feature" in refusal(FRAME[["user", "score"]])


def test_everything_wrong_with_the_values_is_reported_at_once():
    frame = pd.DataFrame(
        {
            "user": ["a", "b", None, "c", ""],
            "age": [1.0, np.nan, 3.0, np.nan, 5.0],
            "city": ["Oslo", "3", "Rome", "Oslo", None],
            "speed": [1.0, np.inf, 1.0, 1.0, 1.0],
            "day": pd.to_datetime(["2020-01-01"] * 5),
            "score": [1.0, 2.0, 3.0, 4.0, np.nan],
        }
    )
    text = refusal(frame)
    assert "7 problems" in text
    assert "column 'user' names no client in 2 rows (the first is row 3)" in text
    assert "feature 'age' is missing (empty or NaN) in 2 rows (the first is row 2) of clients 'b', 'c'" in text
    assert "feature 'city' holds 3 of 5 values that are not numbers ('Oslo', 'Rome')" in text
    assert "feature 'city' is missing (empty or NaN) in row 5" in text
    assert "feature 'speed' is infinite in row 2 of client 'b'" in text
    assert "feature 'day' holds 5 of 5 values that are not numbers ('2020-01-01" in text
    assert "target 'score' is missing (empty or NaN) in row 5" in text


def test_a_missing_class_is_reported_like_a_missing_number():
    text = refusal(FRAME.assign(score=["x", None, "x", "y", "y", "y"]))
    assert "target 'score' is missing (empty or NaN) in row 2 of client 'a'" in text


def test_client_ids_that_are_equal_as_text_are_refused():
    text = refusal(FRAME.assign(user=pd.Series([1, "1", 2, 2, 2, 2], dtype=object)))
    assert "client ids '1' occur more than once" in text


@pytest.mark.parametrize("name", [*(n for n in PACKERS if n != "t.csv"), "t.parquet"])
def test_a_truncated_file_is_an_error_and_never_a_shorter_table(name, tmp_path):
    path = tmp_path / name
    frame = pd.concat([FRAME] * 200).assign(hours=np.random.default_rng(0).random(1200))
    if name.endswith("parquet"):
        frame.to_parquet(path)
        whole = path.read_bytes()
    else:
        whole = PACKERS[name](frame.to_csv(index=False).encode(), path)
    path.write_bytes(whole[: int(0.6 * len(whole))])
    text = refusal(path)
    assert "cannot be read" in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"user,age,score\n", "it has no rows"),
        (b"user;age;score\n1;2;3\n", "another separator seems to be used"),
        (b"user,age,score\n1,2,3\n1,2,3,4\n", "Expected 3 fields in line 3, saw 4"),
        (b"user,age,score\n1,2,3,4\n", "its rows have more fields than the 3 names"),
        (b"user,age,score\n1,2,3\n1,2\n", "target 'score' is missing (empty or NaN) in row 2 of client '1'"),
        (b"user,age,age,score\n1,2,3,4\n", "the table has several columns named 'age'"),
        (b"user,age,score\n,2,3\n", "column 'user' names no client in row 1"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_reason(content, expected, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    assert expected in refusal(tmp_path / "t.csv")


def test_an_archive_with_several_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    assert "the archive holds 2 files ('a.csv', 'b.csv')" in refusal(tmp_path / "t.csv.zip")


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.gz", "t.parquet.gz"])
def test_an_extension_that_is_not_read_is_refused_with_those_that_are(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    text = refusal(tmp_path / name)
    assert "has no extension of a table" in text
    assert ".csv, .tsv, .tab, .parquet" in text


def test_a_path_without_a_file_is_refused(tmp_path):
    assert "is not a file" in refusal(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"table": 5}, ["the table is a int: give a path"]),
        (
            {"table": None, "client": None, "target": None},
            ["3 problems", "a NoneType", "client is None", "target is None"],
        ),
        ({"client": ["user"]}, ["client is ['user']: give the name of one column"]),
        ({"target": 5, "features": 7}, ["target is 5", "features is 7"]),
        ({"features": [["age"]]}, ["features is [['age']]"]),
    ],
)
def test_arguments_that_name_no_table_or_columns_are_refused_together(arguments, words):
    with pytest.raises(UsageError) as caught:
        Population.from_table(**{"table": FRAME, **ROLES, **arguments})
    assert all(word in str(caught.value) for word in words)


def test_columns_may_come_as_any_collection_of_names():
    for features in (["age", "hours"], FRAME.columns[1:3], np.array(["age", "hours"]), iter(("age", "hours"))):
        assert Population.from_table(FRAME, **ROLES, features=features)["a"][0].shape == (2, 2)


def test_clients_that_are_no_names_are_refused():
    frame = FRAME.assign(user=[[1], [2], [1], [3], [2], [1]])
    assert "column 'user' names no clients" in refusal(frame)
