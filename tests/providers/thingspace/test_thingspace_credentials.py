"""Credentials in callbacks are never kept, however they are written; all else is kept byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.thingspace.callbacks import without_credentials


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"password":"hush","a":1}', b'{"password":"***","a":1}'),
        (b'{"Username" :\n"hush"}', b'{"Username" :\n"***"}'),
        (b'{"PASSWORD":"hush"}', b'{"PASSWORD":"***"}'),
        (b'{" password ":"hush"}', b'{" password ":"***"}'),
        (b'{"pass\\u0077ord":"hush"}', b'{"pass\\u0077ord":"***"}'),
        (b'{"\\u0050\\u0041SSWORD":"hush"}', b'{"\\u0050\\u0041SSWORD":"***"}'),
        (b'{"password":"\\u0068ush \\" hush"}', b'{"password":"***"}'),
        (b'{"password":4711}', b'{"password":"***"}'),
        (b'{"password":["hush",{"x]":"hush}"}],"a":[]}', b'{"password":"***","a":[]}'),
        (b'{"a":[{"b":{"password":"hush"}}]}', b'{"a":[{"b":{"password":"***"}}]}'),
        (b'{"password":"hush', b'{"password":"***"'),
        (b'{"password":{"a":"hush', b'{"password":"***"'),
        (b'no JSON, "password": hush, "a"', b'no JSON, "password": "***", "a"'),
        (b'\xff"password":"\xffhush"', b'\xff"password":"***"'),
    ],
)
def test_the_value_is_blotted_out(body: bytes, kept: bytes) -> None:
    assert without_credentials(body) == kept


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"password","username2":"x"}',
        b'{"a":"\\"password\\":","b" : 1.0}',
        b'{"a":["password"],"b":"\\u00e4"}',
        b'{"pass\\uzzzzword":"x"}',
        b'"password"',
    ],
)
def test_what_is_no_credential_stays_as_it_is(body: bytes) -> None:
    assert without_credentials(body) == body


NAMES = st.sampled_from(["username", "password", "PassWord", "user", "a", 'quo"te', "back\\slash", "{[}]"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["password", '"password":"', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["as it is", "escaped"]))
def test_nothing_but_credentials_changes_in_any_json(value: Any, written: str) -> None:
    body = json.dumps(value)
    if written == "escaped":
        body = body.replace("username", "user\\u006eame").replace("PassWord", "\\u0050assWord")

    assert json.loads(without_credentials(body.encode())) == blotted(json.loads(body))


def blotted(value: Any) -> Any:
    if isinstance(value, list):
        return [blotted(each) for each in value]
    if isinstance(value, dict):
        secret = {"username", "password"}
        return {name: "***" if name.lower() in secret else blotted(each) for name, each in value.items()}
    return value
