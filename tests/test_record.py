from __future__ import annotations

import pytest

from mezzotint.errors import InputError
from mezzotint.record import Record, Request, from_json, same_request, to_json


def _request(**changes) -> Request:
    values = dict(
        version="0.1.0", method="bicubic", weights="", picture="0" * 16, input_size=(2, 3), channels=3,
        output_size=(8, 12), chain=("bicubic",), seed=0,
    )  # fmt: skip
    return Request(**{**values, **changes})


def test_records_survive_json() -> None:
    record = Record(request=_request(), libraries={"torch": "2.13"}, adapted=("grey",))
    assert from_json(to_json(record)) == record


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


def test_foreign_json_is_refused() -> None:
    for text in ("{}", "no json", '{"request": {}, "libraries": {}, "more": 1}'):
        with pytest.raises(InputError, match="no record"):
            from_json(text)
