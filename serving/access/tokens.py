"""Tokens of an OpenID Connect issuer: JWTs checked against its published keys, which outlive its outages."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from serving.access.roles import AccessError, Client, RefusedError, Role

FETCH_SECONDS = 3.0
FRESH_SECONDS = 300.0  # then the issuer is asked again, while the keys at hand go on working
LONGEST_SECONDS = 86_400.0  # a key that its issuer did not confirm for a day is no longer trusted
ASK_AGAIN_SECONDS = 10.0  # at the earliest, whatever key ids are asked for
LEEWAY_SECONDS = 30
LONGEST_TOKEN = 8192
LONGEST_DOCUMENT = 256 * 1024
LONGEST_NAME = 200

log = structlog.get_logger()


class TokenError(Exception):
    """A token is not accepted; the message is for the log."""


@dataclass(frozen=True)
class Issuer:
    """Who signs, for whom, and how: all three are fixed, a token cannot choose."""

    url: str
    audience: str
    algorithm: str
    roles_claim: str

    def __post_init__(self) -> None:
        """Raise AccessError unless the issuer is reached by TLS, or on this machine."""
        _check_url(self.url)


class Tokens:
    """Turns a token into the client it names."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys = IssuerKeys(issuer.url)

    def client(self, token: str) -> Client:
        """The subject and roles of a token; raises TokenError, and RefusedError where no key can be had."""
        import jwt  # where no issuer is set, nobody pays for it

        if len(token) > LONGEST_TOKEN:
            raise TokenError("too long")
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            if not isinstance(key_id, str):
                raise TokenError("names no key")
            claims = jwt.decode(
                token,
                self._keys.key(key_id).key,
                algorithms=[self._issuer.algorithm],
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise TokenError(type(error).__name__) from error
        if not claims["sub"]:
            raise TokenError("names nobody")
        said = claims.get(self._issuer.roles_claim)
        roles = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
        # the name of a key has no colon, so that no subject can pass for one
        return Client(f"oidc:{claims['sub'][:LONGEST_NAME]}", frozenset(role for role in Role if role in roles))


class IssuerKeys:
    """The issuer's public keys by id: fetched when first needed, confirmed every few minutes by a thread of its own."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer.rstrip("/")
        self._named = issuer
        self._fetching = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._fetched = self._asked = float("-inf")

    def key(self, key_id: str) -> Any:
        """The key of this id; raises TokenError for an unknown one, RefusedError (503) where there are none at all."""
        age = time.monotonic() - self._fetched
        if key_id in self._keys and age < LONGEST_SECONDS:
            if age > FRESH_SECONDS and self._may_ask():
                threading.Thread(target=self._fetch, name="issuer-keys", daemon=True).start()
            return self._keys[key_id]
        if self._may_ask() or self._fetching.locked():
            self._fetch()
        if time.monotonic() - self._fetched > LONGEST_SECONDS:
            raise RefusedError(
                503,
                "The issuer of tokens does not answer, so that none can be checked; try again in a moment.",
                cause="issuer-unavailable",
                headers={"Retry-After": str(round(ASK_AGAIN_SECONDS))},
            )
        if key_id not in self._keys:
            raise TokenError("unknown key id")
        return self._keys[key_id]

    def _may_ask(self) -> bool:
        return time.monotonic() - self._asked > ASK_AGAIN_SECONDS

    def _fetch(self) -> None:
        """Ask the issuer once; whoever comes meanwhile waits for that answer instead of asking too."""
        with self._fetching:
            if not self._may_ask():
                return
            self._asked = time.monotonic()
            try:
                self._keys = self._published()
                self._fetched = time.monotonic()
            except Exception as error:  # noqa: BLE001 - whatever an issuer sends, the keys at hand stay
                log.error("issuer_keys_not_fetched", cause=f"{type(error).__name__}: {error}"[:300])  # noqa: TRY400

    def _published(self) -> Mapping[str, Any]:
        import httpx
        import jwt

        with httpx.Client(timeout=FETCH_SECONDS, follow_redirects=False, trust_env=False) as http:
            about = _document(http, f"{self._issuer}/.well-known/openid-configuration")
            if about.get("issuer") != self._named:
                raise AccessError("the issuer names itself differently than POPLIFT_OIDC_ISSUER does")
            address = str(about.get("jwks_uri"))
            _check_url(address)
            keys = jwt.PyJWKSet.from_dict(_document(http, address)).keys
        return {key.key_id: key for key in keys if key.key_id and key.public_key_use in {None, "sig"}}


def _document(http: Any, address: str) -> dict[str, Any]:
    with http.stream("GET", address) as answer:
        answer.raise_for_status()
        content = b""
        for part in answer.iter_bytes():
            content += part
            if len(content) > LONGEST_DOCUMENT:
                raise AccessError(f"{address}: is longer than {LONGEST_DOCUMENT} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise AccessError(f"{address}: is no JSON object")
    return found


def _check_url(address: str) -> None:
    url = urlsplit(address)
    is_here = url.hostname in {"127.0.0.1", "::1", "localhost"}
    if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and is_here)):
        raise AccessError(f"{address}: an issuer is reached by https")
