from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tacit.errors import DataError, StorageError, UsageError
from tacit.fleet import Availability, Flag, Fleet, phones, read, write
from tacit.fleet.device import REAL
from tests.fleet.small import fleets

HEADER = "id,ms_per_example,memory_mb,down_kbps,up_kbps,jitter,time_zone,hazard\n"


def same(one: Fleet, other: Fleet) -> None:
    for name in REAL:
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12)
    assert one.flags.tolist() == other.flags.tolist()
    assert one.version.tolist() == other.version.tolist()
    assert one.availability.offsets.tolist() == other.availability.offsets.tolist()
    assert one.availability.starts.tolist() == other.availability.starts.tolist()
    assert one.availability.stops.tolist() == other.availability.stops.tolist()


@pytest.mark.parametrize("files", [["f.json"], ["f.npz"], ["f.csv", "s.csv"]], ids=["json", "npz", "csv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(fleets())
def test_what_is_written_is_read_back(tmp_path, files, fleet):
    paths = [tmp_path / name for name in files]
    write(fleet, *paths)
    back = read(*paths, period=fleet.availability.period)
    same(fleet, back)
    assert back.names.tolist() == [str(i) for i in range(len(fleet))]


@pytest.mark.parametrize("files", [["f.json"], ["f.npz"], ["f.csv", "s.csv"]], ids=["json", "npz", "csv"])
def test_sessions_over_the_end_of_the_period_are_read_back(tmp_path, files):
    fleet = phones(40, seed=2)
    assert (fleet.availability.stops > fleet.availability.period).any()
    write(fleet, *[tmp_path / name for name in files])
    same(fleet, read(*[tmp_path / name for name in files]))


def test_units_of_a_file_become_those_of_a_fleet(tmp_path):
    (tmp_path / "f.csv").write_text(HEADER + "anna,20,3000,8000,1600,0.3,-5,0.5\nbert,10,2000,800,400,0,1,0\n")
    (tmp_path / "s.csv").write_text("id,on,off\nbert,100,200\n")
    fleet = read(tmp_path / "f.csv", tmp_path / "s.csv", period=1000.0, tiers=2)
    assert fleet.names.tolist() == ["anna", "bert"]
    assert fleet.seconds.tolist() == [0.02, 0.01]
    assert fleet.down.tolist() == [1e6, 1e5]
    assert fleet.up.tolist() == [2e5, 5e4]
    assert (fleet.memory[0], fleet.jitter[0], fleet.time_zone[0], fleet.hazard[0]) == (3000, 0.3, -5, 0.5)
    assert fleet.tier.tolist() == [1, 0]
    assert fleet.availability.next_on(None, 0.0).tolist() == [np.inf, 100.0]
    assert fleet.availability.period == 1000.0


def test_what_a_file_leaves_out_has_a_meaning(tmp_path):
    (tmp_path / "f.csv").write_text("id,ms_per_example,down_kbps,up_kbps\na,1,1,1\n")
    (tmp_path / "s.csv").write_text("id,on,off\na,100,90000\n")
    fleet = read(tmp_path / "f.csv")
    assert (fleet.memory[0], fleet.jitter[0], fleet.hazard[0]) == (4000.0, 0.0, 0.0)
    assert fleet.has(Flag.UNMETERED | Flag.CHARGING).all()
    assert fleet.availability.everybody
    assert read(tmp_path / "f.csv", tmp_path / "s.csv").availability.period == 2 * 86400.0


@pytest.mark.parametrize("name", ["f.csv", "f.json", "f.npz"])
def test_versions_are_read_back_and_may_be_left_out(tmp_path, name):
    write(Fleet.of([1.0, 2.0], version=[3, 2**31 - 1]), tmp_path / name)
    assert read(tmp_path / name).version.tolist() == [3, 2**31 - 1]
    (tmp_path / "old.csv").write_text("id,ms_per_example,down_kbps,up_kbps\na,1,1,1\n")
    assert read(tmp_path / "old.csv").version.tolist() == [0]


def test_versions_that_are_no_whole_numbers_are_named_with_their_lines(tmp_path):
    given = ["1", "1.5", "-1", "new", "inf", "nan"]
    rows = "\n".join(f"{i},1,1,1,{version}" for i, version in enumerate(given))
    (tmp_path / "f.csv").write_text("id,ms_per_example,down_kbps,up_kbps,version\n" + rows + "\n")
    with pytest.raises(DataError, match="5 problems") as error:
        read(tmp_path / "f.csv")
    for part in ("line 3: version is 1.5: give a whole number from 0", "line 4: version is -1", "version is 'new'"):
        assert part in str(error.value)


def test_a_table_of_sessions_without_rows_is_nobody(tmp_path):
    (tmp_path / "f.csv").write_text("id,ms_per_example,down_kbps,up_kbps\na,1,1,1\n")
    (tmp_path / "s.csv").write_text("id,on,off\n")
    assert not read(tmp_path / "f.csv", tmp_path / "s.csv").availability.available(None, 0.0).any()


def test_all_mistakes_of_a_table_are_named_with_their_lines(tmp_path):
    rows = ["a,0,1,1,1,0,0,0", "", "a,1,1,x,1,0,0,0", ",1,1,1,nan,0,0,-1", "d,1,1,inf,1,4,20,0"]
    (tmp_path / "f.csv").write_text(HEADER + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as error:
        read(tmp_path / "f.csv")
    said = str(error.value)
    assert "f.csv cannot be used (9 problems)" in said
    for part in (
        "line 2: ms_per_example is 0: give a finite number above 0",
        "line 4: down_kbps is 'x': give a number",
        "line 5: up_kbps is 'nan'",
        "line 5: hazard is -1: give a finite number from 0",
        "line 6: down_kbps is inf",
        "line 6: jitter is 4: give a finite number from 0 to 3",
        "line 6: time_zone is 20",
        "line 4: id 'a' is in line 2 already",
        "line 5: id is empty",
    ):
        assert part in said


def test_all_mistakes_of_sessions_are_named_with_their_lines(tmp_path):
    (tmp_path / "f.csv").write_text("id,ms_per_example,down_kbps,up_kbps\na,1,1,1\n")
    (tmp_path / "s.csv").write_text("id,on,off\na,5,9\nb,1,2\na,3,6\na,20,10\na,x,4\na,-1,2\n")
    with pytest.raises(DataError) as error:
        read(tmp_path / "f.csv", tmp_path / "s.csv", period=50.0)
    said = str(error.value)
    for part in (
        "line 3: id 'b' is no device",
        "line 2: overlaps with line 4",
        "line 5: on 20, off 10: give 0 <= on < off <= 50 seconds",
        "line 6: on is 'x'",
        "line 7: on -1",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("f.csv", "", "column id is missing|no devices"),
        ("f.csv", HEADER, "holds no devices"),
        ("f.csv", "id,ms_per_example,down_kbps\na,1,1\n", "column up_kbps is missing"),
        ("f.csv", "id,ms_per_example,down_kbps,up_kbps,memroy\na,1,1,1,1\n", "column 'memroy' is unknown"),
        ("f.csv", HEADER + "a,1\n", "line 2: 2 values for 8 columns"),
        ("f.csv", "id,id\na,b\n", "named twice"),
        ("f.csv", b"\xff\xfe\x00", "cannot be read"),
        ("f.json", "[1, 2", "cannot be read"),
        ("f.json", "[" * 100000, "cannot be read"),
        ("f.json", "[1]", "give an object with devices, sessions and period|devices, sessions and period"),
        ("f.json", '{"devices": {"a": 1}}', "not a list of objects"),
        ("f.json", '{"devices": [], "period": "long"}', "period is 'long'"),
        ("f.json", '{"devices": [{"id": "a"}, {"ms": 1}]}', r"devices\[1\] has other fields than devices\[0\]: id"),
        (
            "f.json",
            '{"devices": [{"id": "a", "ms_per_example": true, "down_kbps": 1e999, "up_kbps": null}]}',
            r"(?s)devices\[0\]: ms_per_example is 'True'.*down_kbps is 'inf'.*up_kbps is 'None'",
        ),
        ("f.npz", b"PK\x05\x06 no archive", "cannot be read"),
        ("f.pkl", b"", "is none of .csv, .json, .npz"),
    ],
)
def test_a_file_that_holds_no_fleet_is_refused(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said):
        read(path)


def test_a_file_that_is_not_there_is_an_error_of_data(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_nothing_in_an_archive_is_unpickled(tmp_path):
    np.savez(tmp_path / "f.npz", id=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="Python objects, which are never unpickled"):
        read(tmp_path / "f.npz")


def test_no_size_that_an_archive_claims_is_believed(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("id.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 16)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "f.npz")


def test_columns_of_an_archive_have_one_length(tmp_path):
    np.savez(tmp_path / "f.npz", id=np.array(["a", "b"]), ms_per_example=np.ones(3))
    with pytest.raises(DataError, match="vectors of one length"):
        read(tmp_path / "f.npz")


def test_names_survive(tmp_path):
    fleet = Fleet.of([1.0, 2.0], names=["a,b", 'c"d'], availability=Availability.always(2))
    for name in ("f.csv", "f.json", "f.npz"):
        write(fleet, tmp_path / name)
        assert read(tmp_path / name).names.tolist() == ["a,b", 'c"d']
    assert json.loads((tmp_path / "f.json").read_text())["devices"][0]["ms_per_example"] == 1000.0


def test_arguments_are_checked(tmp_path):
    with pytest.raises(UsageError, match="4 problems"):
        read(3, 4, period=-1.0, tiers=0)
    with pytest.raises(UsageError, match=r"one or two \.csv files"):
        write(phones(2, 1), tmp_path / "f.json", tmp_path / "s.csv")
    with pytest.raises(StorageError, match="cannot be written"):
        write(phones(2, 1), tmp_path / "nowhere" / "f.json")
