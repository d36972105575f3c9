"""A real browser with no network beyond this machine, driven by its own protocol: what is seen, clicked and typed."""

import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
from websockets.sync.client import connect

# Pages are drawn without a network: everything they need must come from this machine.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--window-size=1400,1000"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
START_SECONDS = 60
SEEN_SECONDS = 60
# The middle of the last element with this text as its own or as its label, what overlays comes last; null while it is
# not seen, is covered, or does nothing yet.
MIDDLE = """
(() => {
  const wanted = %s;
  const says = e => [e.getAttribute('aria-label'), e.getAttribute('title'), e.innerText].some(t => t && t.trim() === wanted);
  const found = [...document.querySelectorAll('button, a, input, [role], [aria-label], label, span, div')].filter(says)
    .map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width > 0 && r.height > 0);
  if (!found.length) return null;
  const [element, box] = found[found.length - 1];
  element.scrollIntoView({block: 'center'});
  const at = element.getBoundingClientRect();
  const middle = [at.x + at.width / 2, at.y + at.height / 2];
  const top = document.elementFromPoint(...middle);
  const is_hit = top && element.parentElement.contains(top);  // a hint stands behind the field that it is in
  return is_hit && !element.closest('[disabled]') ? middle : null;
})()
"""


def program():
    """Path of Chromium; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: install the package chromium to run this test")
    return found


class Page:
    """One open page."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    def _ask(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SEEN_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def value_of(self, expression):
        """What a JavaScript expression gives."""
        return self._ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, address):
        """Go to an address."""
        self._ask("Page.navigate", url=address)

    def text(self):
        """What a person can read."""
        return self.value_of("document.body ? document.body.innerText : ''") or ""

    def wait(self, condition, *, what):
        """What a condition gives once it gives something."""
        deadline = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} was not seen on the page: {self.text()[:2000]}")

    def sees(self, words):
        """Wait for words."""
        self.wait(lambda: words in self.text(), what=words)

    def _still(self, words):
        """Where these words stand; None while they move, as in a dialogue that opens."""
        before = self.value_of(MIDDLE % json.dumps(words))
        time.sleep(0.3)
        return before if before and before == self.value_of(MIDDLE % json.dumps(words)) else None

    def click(self, words):
        """Press the mouse on what says these words, once it stands still."""
        x, y = self.wait(lambda: self._still(words), what=words)
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self._ask("Input.dispatchMouseEvent", type="mousePressed", **at)
        self._ask("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def type(self, text):
        """Type into what has the focus, and Enter."""
        self._ask("Input.insertText", text=text)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **enter)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **enter)


@contextmanager
def browser(profile):
    """A page of a browser of its own, whose state is in the folder `profile`; closed at the end."""
    command = [program(), *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(profile), max_size=None, compression=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(20)


def _address(profile):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, IndexError, httpx.TransportError, StopIteration):
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            pages = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
            return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        time.sleep(0.1)
    raise AssertionError(f"no browser within {START_SECONDS} s")
