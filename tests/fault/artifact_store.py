"""An artifact store over HTTP as MLflow's own server offers it, which fails in the middle of an upload when told to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ENDPOINT = "/mlflow-artifacts/artifacts"
HANGS, REFUSES = "hangs", "answers 500"


class ArtifactStore(ThreadingHTTPServer):
    """Keeps what it is given under `folder`; from the upload number `fails_at` on it fails the way of `how`."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}{ENDPOINT}"
        self.fails_at, self.how = None, REFUSES
        self.uploads = 0
        self.counting = threading.Lock()
        self.closing = threading.Event()

    def fail(self, how, *, at):
        self.fails_at, self.how, self.uploads = at, how, 0

    def mend(self):
        self.fails_at, self.uploads = None, 0

    def fails_now(self):
        with self.counting:
            self.uploads += 1
            return self.fails_at is not None and self.uploads >= self.fails_at

    def files(self):
        """What has arrived whole."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())


@contextmanager
def artifact_store(folder):
    """A running store."""
    store = ArtifactStore(folder)
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.closing.set()
        store.shutdown()
        store.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArtifactStore

    def log_message(self, *_):
        pass

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.fails_now():
            place = self._place()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
            self._answer(200, b"{}")
        elif self.server.how == HANGS:
            self.server.closing.wait(30)
            self.close_connection = True
        else:
            self._answer(500, b"disk of the store is gone")

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query).get("path")
        if asked is None:
            place = self._place()
            self._answer(*((200, place.read_bytes()) if place.is_file() else (404, b"")))
            return
        place = self.server.folder / asked[0]
        found = sorted(place.iterdir()) if place.is_dir() else []
        listed = [{"path": p.name, "is_dir": p.is_dir(), "file_size": p.stat().st_size} for p in found]
        self._answer(200, json.dumps({"files": listed}).encode())

    def _place(self):
        return self.server.folder / unquote(urlsplit(self.path).path.removeprefix(ENDPOINT)).lstrip("/")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
