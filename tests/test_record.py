from __future__ import annotations

import getpass
import json
import platform
import re
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mezzotint import record as records
from mezzotint.errors import InputError
from mezzotint.record import (
    FORMAT,
    Consistency,
    Deadline,
    Machine,
    Record,
    Request,
    Saved,
    all_from_json,
    differences,
    from_json,
    libraries,
    same_request,
    source_of,
    to_json,
)


def _request(**changes) -> Request:
    values = dict(
        version="0.1.0", method="bicubic", weights="", picture="0" * 16, input_size=(2, 3), channels=3,
        output_size=(8, 12), chain=("bicubic",), seed=0,
    )  # fmt: skip
    return Request(**{**values, **changes})


def _full(**changes) -> Record:
    values = dict(
        request=_request(chain=("m", "m", "bicubic to 20x30"), output_size=(20, 30)),
        libraries=libraries(),
        reason="only one",
        adapted=("grey",),
        evaluations=5,
        tile=160,
        seconds=1.5,
        consistency=Consistency(
            operator="bicubic", before_rms=1, before_max=2, after_rms=0, after_max=0, saved_rms=0.3, saved_max=0.5
        ),
        saved=Saved(format="jpeg", quality=95),
        source="photo.jpg",
        source_sha256="0f" * 32,
        output="photo_x4.jpg",
        recipe="sr3",
        sizes=((8, 12), (32, 48), (20, 30)),
        timings={"reading": 0.1, "network": 1.0, "consistency": 0.2},
        machine=Machine.here(),
        deadline=Deadline(seconds=10, chosen="realism 0"),
        plan={"tiles": 4, "seconds": 1.25, "whole": False, "note": "two passes", "memory": None},
    )  # fmt: skip
    return Record(**{**values, **changes})


def test_records_survive_json() -> None:
    record = Record(request=_request(), libraries={"torch": "2.13"}, adapted=("grey",))
    assert from_json(to_json(record)) == record
    assert from_json(to_json(_full())) == _full()
    assert "\n" not in to_json(_full())


def test_plan_keeps_the_type_of_its_values() -> None:
    plan = from_json(to_json(_full())).plan
    assert {key: type(value) for key, value in plan.items()} == {
        "tiles": int, "seconds": float, "whole": bool, "note": str, "memory": type(None)
    }  # fmt: skip


def test_equal_records_are_equal_text() -> None:
    forwards = {"reading": 0.1, "network": 1.0, "consistency": 0.2}
    backwards = dict(reversed(forwards.items()))
    assert list(forwards) != list(backwards)
    assert to_json(_full(timings=forwards)) == to_json(_full(timings=backwards))
    copied = _full().model_copy(update={"timings": backwards})
    assert to_json(copied) == to_json(_full(timings=forwards))
    assert json.dumps(copied.model_dump(mode="json")) == json.dumps(_full(timings=forwards).model_dump(mode="json"))


@given(
    seed=st.integers(0, 2**64 - 1), realism=st.none() | st.floats(0, 1), sides=st.tuples(*[st.integers(1, 10**6)] * 2)
)
def test_every_request_survives_json(seed: int, realism: float | None, sides: tuple[int, int]) -> None:
    record = Record(request=_request(seed=seed, realism=realism, output_size=sides), libraries={})
    assert from_json(to_json(record)) == record


def test_records_of_the_first_format_are_read() -> None:
    old = (
        '{"format":1,"request":{"version":"0.0.9","method":"bicubic","weights":"","picture":"00000000000000aa",'
        '"input_size":[2,3],"channels":3,"output_size":[8,12],"chain":["bicubic"],"seed":9223372036854775808,'
        '"steps":null,"realism":null,"consistent":false,"colour":"none"},"libraries":{"torch":"2.13.0"},"reason":"",'
        '"adapted":[],"evaluations":0,"tile":null,"seconds":0.01,"consistency":null,"saved":{"format":"png","quality":'
        "null}}"
    )
    record = from_json(old)
    assert record.format == FORMAT and record.request.seed == 2**63 and record.saved == Saved(format="png")
    assert (record.source, record.sizes, record.machine, record.plan) == ("", (), None, {})
    assert from_json(to_json(record)) == record


def test_records_of_the_third_format_are_read() -> None:
    content = json.loads(to_json(_full()))
    content["format"] = 3
    for name in ("operator", "operator_sha256", "noise"):
        del content["request"][name]
    record = from_json(json.dumps(content))
    assert record == _full()
    assert (record.request.operator, record.request.noise) == ("", 0.0)
    assert same_request(json.dumps(content), record.request)
    with pytest.raises(ValidationError):
        _request(noise=-1.0)


def test_records_of_the_fourth_format_are_read() -> None:
    content = json.loads(to_json(_full()))
    content["format"] = 4
    del content["machine"]["engine"]
    record = from_json(json.dumps(content))
    assert record == _full() and record.machine is not None and record.machine.engine == "eager"


def test_newer_records_are_refused_with_the_way_out() -> None:
    content = json.loads(to_json(_full()))
    content["format"] = FORMAT + 1
    content["request"]["version"] = "7.0"
    content["request"]["new"] = 1
    with pytest.raises(InputError, match=rf"format {FORMAT + 1}, written by mezzotint 7\.0.*up to format {FORMAT}: up"):
        from_json(json.dumps(content))


@pytest.mark.parametrize("place", ["", "request", "saved", "machine"])
def test_unknown_fields_are_named(place: str) -> None:
    content = json.loads(to_json(_full()))
    (content[place] if place else content)["colour_of_mind"] = 1
    with pytest.raises(InputError, match="colour_of_mind' is unknown to .*the record is by 0.1.0"):
        from_json(json.dumps(content))


@pytest.mark.parametrize(
    "change, named",
    [
        ({"format": "2"}, "format '2'"),
        ({"format": 0}, "format 0"),
        ({"format": True}, "format True"),
        ({"sizes": [[8, 12]]}, "1 sizes for 3 passes"),
        ({"sizes": [[8, 12], [32, 48], [20, 31]]}, "last size"),
        ({"source_sha256": "xyz"}, "source_sha256"),
        ({"timings": {"reading": -1}}, "timings.reading"),
        ({"seconds": float("nan")}, "seconds"),
        ({"tile": 0}, "tile"),
        ({"libraries": None}, "libraries"),
    ],
)
def test_damaged_fields_are_named(change: dict, named: str) -> None:
    content = {**json.loads(to_json(_full())), **change}
    with pytest.raises(InputError, match=f"no record.*{named}") as caught:
        from_json(json.dumps(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"seed": -1}, {"seed": 2**64}, {"picture": "xyz"}, {"output_size": (0, 1)}, {"realism": 1.5}, {"steps": 0}],
)
def test_impossible_requests_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        _request(**change)


def test_foreign_json_is_refused() -> None:
    for text in ("{}", "no json", '{"request": {}, "libraries": {}, "more": 1}', "3", "null", '"text"', "[" * 100_000):
        with pytest.raises(InputError, match="no record") as caught:
            from_json(text)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="a list"):
        from_json(f"[{to_json(_full())}]")


def test_one_record_and_lists_are_read() -> None:
    one, other = to_json(_full()), to_json(_full(source="b.png"))
    assert all_from_json(one) == (_full(),)
    assert [record.source for record in all_from_json(f"[{one}, {other}]")] == ["photo.jpg", "b.png"]
    with pytest.raises(InputError, match="empty"):
        all_from_json("[]")
    with pytest.raises(InputError, match="record 2: no table of fields, but a number"):
        all_from_json(f"[{one}, 7]")


def test_same_request_sees_every_difference() -> None:
    text = to_json(Record(request=_request(), libraries={}))
    assert same_request(text, _request())
    for change in (
        {"seed": 1},
        {"method": "nearest"},
        {"output_size": (8, 11)},
        {"consistent": True},
        {"weights": "x"},
    ):
        assert not same_request(text, _request(**change))
    for text in ("", "{}", "[]", '{"request": 3}', "null"):
        assert not same_request(text, _request())


def test_differences_are_said_in_words() -> None:
    assert differences(_request(), _request()) == ()
    first = _request(seed=0, realism=0.5, consistent=True, weights="ab" * 32)
    second = _request(seed=1, output_size=(8, 13), weights="", chain=("bicubic", "bicubic to 8x13"))
    assert differences(first, second) == (
        "weights abababababab... against none",
        "output size 12x8 against 13x8",
        "chain (bicubic) against (bicubic, then bicubic to 8x13)",
        "seed 0 against 1",
        "realism 0.5 against none",
        "consistent on against off",
    )


def test_every_field_of_a_request_is_compared() -> None:
    changes = dict(
        version="9", method="x", weights="x", picture="f" * 16, input_size=(9, 9), channels=1, output_size=(9, 9),
        chain=("x",), seed=9, steps=9, realism=0.9, consistent=True, guidance=2.0, colour="x",
        coding="x", operator="x", operator_sha256="a" * 64, noise=9.0,
    )  # fmt: skip
    assert set(changes) == set(Request.model_fields)
    for name, value in changes.items():
        (line,) = differences(_request(), _request(**{name: value}))
        assert line.startswith(name.replace("_", " ") + " ") and " against " in line


def test_nothing_names_a_folder_a_user_or_a_computer(tmp_path: Path) -> None:
    folder = tmp_path / "of-somebody"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"bytes")
    record = _full(**source_of(folder / "photo.png"), output=folder / "photo_x4.png")
    assert (record.source, record.output) == ("photo.png", "photo_x4.png")
    assert record.source_sha256 == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"
    assert _full(source=r"C:\Users\ann\photo.png").source == "photo.png"
    assert _full(source="/home/ann/").source == ""
    copied = _full().model_copy(update={"source": str(folder / "photo.png"), "output": folder / "b.png"})
    assert from_json(to_json(copied)) == _full(source="photo.png", output="b.png")
    text = to_json(record)
    assert "of-somebody" not in text and str(tmp_path) not in text
    words = set(re.findall(r"[\w.-]+", text))
    assert not words & {platform.node(), getpass.getuser(), Path.home().name}


def test_names_that_are_no_text_are_kept_readable() -> None:
    record = _full(source="b\udcffd.png")
    assert record.source == "b\ufffdd.png"
    assert from_json(to_json(record)) == record


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.png cannot be read: no such file"):
        source_of(tmp_path / "gone.png")


def test_the_machine_is_this_one() -> None:
    machine = Machine.here(device="cuda:1", dtype=str(torch.float16), engine="compile")
    assert machine.engine == "compile"
    assert (machine.device, machine.dtype, machine.threads) == ("cuda", "float16", torch.get_num_threads())
    assert machine.python == platform.python_version() and platform.machine() in machine.platform


def test_libraries_are_those_that_run() -> None:
    found = libraries()
    assert (found["torch"], found["numpy"]) == (str(torch.__version__), np.__version__)
    assert found["libvips"] == f"{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"
    assert list(found) == sorted(found)
    found["torch"] = "changed by a caller"
    assert records.libraries()["torch"] == str(torch.__version__)
