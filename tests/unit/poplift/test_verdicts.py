"""A verdict is sealed: whatever is changed in it, in its key or in the files it is about, is noticed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poplift.verdicts import VerdictError, canonical, file_digests, parse, sign

RECORD = {
    "model": "demand",
    "outcome": "pass",
    "reasons": ["deviance -3.3 %"],
    "files": {"plan.json": "ab"},
    "champion": None,
    "figures": {"bias": -0.038},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4), st.text(min_size=1))
@settings(max_examples=60, deadline=None)
def test_a_signed_record_comes_back_as_it_was(more, key):
    signed = sign({**more, **RECORD}, key=key)
    assert parse(signed.to_json(), key=key) == signed


def test_the_order_of_the_fields_does_not_matter():
    assert canonical(RECORD) == canonical(dict(reversed(RECORD.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "pass "},
        {"reasons": []},
        {"files": {"plan.json": "cd"}},
        {"figures": {"bias": -0.03}},
        {"champion": "7"},
    ],
    ids=["outcome", "reasons", "files", "figures", "champion"],
)
def test_a_changed_record_is_refused(change):
    stored = json.loads(sign(RECORD, key="k").to_json())
    stored["record"] |= change
    with pytest.raises(VerdictError, match="the signature does not match"):
        parse(json.dumps(stored), key="k")


def test_a_verdict_signed_with_another_key_is_refused():
    with pytest.raises(VerdictError, match="another POPLIFT_VERDICT_KEY"):
        parse(sign(RECORD, key="theirs").to_json(), key="ours")


def test_a_changed_digest_is_refused():
    stored = json.loads(sign(RECORD, key="k").to_json())
    stored["sha256"] = "0" * 64
    with pytest.raises(VerdictError, match="digest does not match"):
        parse(json.dumps(stored), key="k")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"record": {}, "sha256": "", "signature": ""}', b"\xff"])
def test_what_is_no_verdict_is_refused_and_never_an_error_of_python(text):
    with pytest.raises(VerdictError, match="no signed verdict"):
        parse(text, key="k")


def test_a_number_that_is_none_cannot_be_signed():
    with pytest.raises(ValueError, match="JSON"):
        sign({**RECORD, "figures": {"bias": float("nan")}}, key="k")


def test_one_flipped_byte_changes_the_digest_of_a_file(tmp_path):
    (tmp_path / "a.lgb").write_bytes(b"tree")
    before = file_digests(tmp_path)
    (tmp_path / "a.lgb").write_bytes(b"trea")
    assert before.keys() == file_digests(tmp_path).keys()
    assert before != file_digests(tmp_path)
