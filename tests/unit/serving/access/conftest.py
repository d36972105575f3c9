"""An application that asks for keys and tokens, and an issuer of tokens that may fail."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from poplift.settings import Settings
from serving.app import create_app

AUDIENCE = "poplift-api"


class Issuer:
    """A real HTTP server that publishes keys; it counts what it is asked and fails when told to."""

    def __init__(self):
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.asked, self.failing, self.said = 0, False, {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                if issuer.failing:
                    self.send_error(500)
                    return
                content = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def document(self, path):
        """What is published at this path."""
        if path.startswith("/.well-known"):
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.said
        keys = [
            json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": name, "use": "sig", "alg": "RS256"}
            for name, key in self.keys.items()
        ]
        return {"keys": keys}

    def claims(self, **changed):
        """Of a good token, with some of them changed; None leaves one out."""
        now = int(time.time())  # noqa: TID251 - a token is of the present
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "app-1", "iat": now, "exp": now + 60, "roles": ["decide"]}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, *, key="one", algorithm="RS256", headers=None, signed_with=None, **changed):
        """A token signed by one of the keys."""
        signer = signed_with if signed_with is not None else self.keys[key]
        return jwt.encode(self.claims(**changed), signer, algorithm=algorithm, headers={"kid": key, **(headers or {})})

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="session")
def issuer_process():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(issuer_process):
    """The issuer, well again."""
    issuer_process.failing, issuer_process.asked, issuer_process.said = False, 0, {}
    for name in set(issuer_process.keys) - {"one"}:
        del issuer_process.keys[name]
    yield issuer_process
    for thread in threading.enumerate():
        if thread.name == "issuer-keys":
            thread.join()


@pytest.fixture(scope="module")
def guarded_client(issuer_process, make_settings, new_store, serving):
    """A client of one application for a whole matrix: what is refused must not leave a trace."""
    given = {"access": "required", "oidc_issuer": issuer_process.url, "oidc_audience": AUDIENCE}
    settings = Settings(**(make_settings().model_dump(exclude_unset=True) | given))
    with serving(create_app(settings, reader=new_store())) as running:
        yield running
