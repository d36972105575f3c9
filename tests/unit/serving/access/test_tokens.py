"""A token counts only if the set issuer signed it, for this audience, with the set algorithm, and not too long ago."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.access import tokens as tokens_module
from serving.access.roles import AccessError, RefusedError
from serving.access.tokens import Issuer, TokenError, Tokens

from .conftest import AUDIENCE


@pytest.fixture
def tokens(issuer):
    return Tokens(Issuer(issuer.url, AUDIENCE, "RS256", "roles"))


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(issuer):
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': 'one'})}.{part(issuer.claims())}."


def signed_with_the_public_key(issuer):
    """The old trick: HMAC with what everybody knows."""
    pem = (
        issuer.keys["one"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    content = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'one'})}.{part(issuer.claims())}"
    signature = hmac.new(pem, content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered(issuer):
    head, _, signature = issuer.token().split(".")
    return f"{head}.{part(issuer.claims(roles=['operate']))}.{signature}"


NOW = int(time.time())  # noqa: TID251 - a token is of the present
BAD = {
    "alg none": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "claims exchanged": tampered,
    "another audience": lambda i: i.token(aud="somebody-else"),
    "no audience": lambda i: i.token(aud=None),
    "another issuer": lambda i: i.token(iss="https://evil.example"),
    "no issuer": lambda i: i.token(iss=None),
    "expired": lambda i: i.token(exp=NOW - 3600),
    "never expires": lambda i: i.token(exp=None),
    "not yet valid": lambda i: i.token(nbf=NOW + 3600),
    "issued in the future": lambda i: i.token(iat=NOW + 3600),
    "no subject": lambda i: i.token(sub=None),
    "an empty subject": lambda i: i.token(sub=""),
    "unknown key": lambda i: i.token(headers={"kid": "two"}),
    "no key id": lambda i: jwt.encode(i.claims(), i.keys["one"], algorithm="RS256"),
    "key id is a path": lambda i: i.token(headers={"kid": "../../etc/passwd"}),
    "another key under this id": lambda i: i.token(signed_with=rsa.generate_private_key(65537, 2048)),
    "another algorithm": lambda i: i.token(algorithm="RS512"),
    "PS256": lambda i: i.token(algorithm="PS256"),
    "a key of its own": lambda i: i.token(headers={"jwk": {"kty": "oct", "k": "AAAA"}}, aud="x"),
    "too long": lambda i: i.token(more="x" * 9000),
}


def test_a_good_token_names_its_client_and_roles(issuer, tokens):
    client = tokens.client(issuer.token(roles=["decide", "read", "admin"]))
    assert client.name == "oidc:app-1"
    assert client.roles == {"decide", "read"}


@pytest.mark.parametrize(
    ("said", "roles"),
    [("read decide", {"read", "decide"}), (None, set()), (7, set()), ({"read": 1}, set()), ([["read"], 1], set())],
)
def test_roles_are_a_list_or_words_and_anything_else_is_none(issuer, tokens, said, roles):
    assert tokens.client(issuer.token(roles=said)).roles == roles


@pytest.mark.parametrize("why", BAD)
def test_a_token_that_is_wrong_in_one_way_is_refused_by_the_api(issuer, guarded_client, why):
    token = BAD[why](issuer)
    answer = guarded_client.get("/v1/recommendations/367", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401, why
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert token not in answer.text


def test_a_good_token_is_answered_and_its_role_counts(issuer, guarded_client):
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    assert guarded_client.get("/v1/recommendations/367", headers=headers).status_code == 200
    assert guarded_client.get("/version", headers=headers).status_code == 403


def test_known_keys_go_on_working_while_the_issuer_is_down(issuer, tokens, monkeypatch):
    tokens.client(issuer.token())
    issuer.failing = True
    monkeypatch.setattr(tokens_module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(tokens_module, "ASK_AGAIN_SECONDS", 0.0)
    for _ in range(3):
        assert tokens.client(issuer.token()).name == "oidc:app-1"
    monkeypatch.setattr(tokens_module, "LONGEST_SECONDS", 0.0)
    with pytest.raises(RefusedError) as refused:
        tokens.client(issuer.token())
    assert refused.value.status == 503


def test_an_issuer_that_never_answered_is_a_503_and_asked_again_only_after_a_while(issuer, tokens, monkeypatch):
    issuer.failing = True
    for _ in range(20):
        with pytest.raises(RefusedError) as refused:
            tokens.client(issuer.token())
        assert refused.value.status == 503
    assert issuer.asked == 1
    issuer.failing = False
    monkeypatch.setattr(tokens_module, "ASK_AGAIN_SECONDS", 0.0)
    assert tokens.client(issuer.token()).name == "oidc:app-1"


def test_an_issuer_that_hangs_costs_the_deadline(issuer, monkeypatch):
    import socket

    monkeypatch.setattr(tokens_module, "FETCH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tokens = Tokens(Issuer(f"http://127.0.0.1:{silent.getsockname()[1]}", AUDIENCE, "RS256", "roles"))
        began = time.monotonic()
        with pytest.raises(RefusedError):
            tokens.client(issuer.token())
        assert time.monotonic() - began < 3


def test_unknown_key_ids_do_not_make_the_api_ask_the_issuer_again_and_again(issuer, tokens):
    tokens.client(issuer.token())
    asked = issuer.asked
    for n in range(50):
        with pytest.raises(TokenError, match="unknown key"):
            tokens.client(issuer.token(headers={"kid": f"made-up-{n}"}))
    assert issuer.asked == asked


def test_a_new_key_of_the_issuer_is_taken_over(issuer, tokens, monkeypatch):
    tokens.client(issuer.token())
    issuer.keys["two"] = rsa.generate_private_key(65537, 2048)
    monkeypatch.setattr(tokens_module, "ASK_AGAIN_SECONDS", 0.0)
    assert tokens.client(issuer.token(key="two")).name == "oidc:app-1"


@pytest.mark.parametrize(
    "said",
    [{"issuer": "https://evil.example"}, {"jwks_uri": "http://169.254.169.254/keys"}, {"jwks_uri": "file:///etc"}],
)
def test_an_issuer_that_points_elsewhere_is_not_followed(issuer, tokens, said):
    issuer.said = said
    with pytest.raises(RefusedError):
        tokens.client(issuer.token())
    assert issuer.asked == 1


@pytest.mark.parametrize("url", ["http://issuer.example", "file:///etc", "ftp://x", "issuer.example", ""])
def test_an_issuer_without_tls_is_no_issuer(url):
    with pytest.raises(AccessError, match="reached by https"):
        Issuer(url, AUDIENCE, "RS256", "roles")


def test_the_library_still_refuses_what_this_page_relies_on(issuer):
    """Should PyJWT ever take a public key for an HMAC secret, the matrix above would be the last to know."""
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(unsigned(issuer), issuer.keys["one"].public_key(), algorithms=["RS256"], audience=AUDIENCE)
