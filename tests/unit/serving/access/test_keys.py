"""A key is shown once and kept as a hash; what is revoked stays revoked, also when two people change keys at once."""

import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from serving.access.keys import ApiKeys
from serving.access.roles import AccessError, Role

AT = datetime(2018, 1, 2, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path):
    return ApiKeys(tmp_path)


def test_a_key_opens_for_its_client_and_roles_and_is_nowhere_on_disk(keys, tmp_path):
    key = keys.create("till app", [Role.READ, Role.INGEST], at=AT)
    client = ApiKeys(tmp_path).client(key)
    assert client.name == "till app"
    assert client.roles == {"read", "ingest"}
    kept = "".join(file.read_text() for file in tmp_path.iterdir())
    assert key.split("_", 2)[2] not in kept
    assert key not in repr(keys.all())


def test_a_key_with_one_sign_changed_is_nobodys(keys):
    key = keys.create("app", [Role.READ], at=AT)
    assert keys.client(key[:-1] + ("a" if key[-1] != "a" else "b")) is None
    assert keys.client(key + "a") is None
    assert keys.client(key.upper()) is None


def test_every_key_is_compared_in_the_same_time_known_or_not(keys, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    keys.client(keys.create("app", [Role.READ], at=AT))
    keys.client("poplift_000000000000_unknown")
    assert compared == [(64, 64), (64, 64)]


def test_a_revoked_key_stays_listed_and_opens_nothing(tmp_path, keys):
    key = keys.create("app", [Role.READ], at=AT)
    revoked = keys.revoke(keys.all()[0].id, at=AT)
    assert revoked.revoked_at == "2018-01-02T00:00:00+00:00"
    assert ApiKeys(tmp_path).client(key) is None
    again = keys.create("app", [Role.READ], at=AT)
    assert ApiKeys(tmp_path).client(again) is not None
    assert [k.revoked_at is None for k in keys.all()] == [False, True]


def test_two_keys_of_one_name_would_not_be_told_apart_in_a_log(keys):
    keys.create("app", [Role.READ], at=AT)
    with pytest.raises(AccessError, match="revoke it first"):
        keys.create("app", [Role.READ], at=AT)


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[31m", "oidc:app", "../x", "x" * 65, " x", "a/b"])
def test_a_name_that_could_forge_a_log_line_is_refused(keys, name):
    with pytest.raises(AccessError, match="name has 1 to 64"):
        keys.create(name, [Role.READ], at=AT)


def test_what_is_not_there_cannot_be_revoked(keys):
    with pytest.raises(AccessError, match="poplift keys list"):
        keys.revoke("nope", at=AT)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": 1}', '{"keys": [{"id": "a"}]}'])
def test_a_damaged_file_opens_for_nobody_and_says_where(tmp_path, keys, content):
    key = keys.create("app", [Role.READ], at=AT)
    (tmp_path / "keys.json").write_text(content)
    assert ApiKeys(tmp_path).client(key) is None
    with pytest.raises(AccessError, match=r"keys\.json: cannot be read"):
        keys.all()


def test_keys_made_at_the_same_time_are_all_kept(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: ApiKeys(tmp_path).create(f"app {n}", [Role.READ], at=AT), range(16)))
    keys = ApiKeys(tmp_path)
    assert {keys.client(key).name for key in made} == {f"app {n}" for n in range(16)}
    assert len(json.loads((tmp_path / "keys.json").read_text())["keys"]) == 16
