"""A door to a server that freezes: connections are taken, bytes too, and nothing is passed on."""

import contextlib
import socket
import threading


class FreezableProxy:
    """Forwards TCP from `port` of 127.0.0.1 to a server; `with` ends it and all its connections.

    A connection that was open at a freeze is never answered again, and never closed: after the thaw it is another
    machine that answers under the same address, and only who connects anew finds it.
    """

    def __init__(self, host, port):
        self._server = (host, port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._freezes = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thaw()
        self._listening.close()
        for end in self._open:
            _shut(end)

    def freeze(self):
        self._freezes += 1
        self._flowing.clear()

    def thaw(self):
        self._flowing.set()

    def _accept(self):
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        self._flowing.wait()
        server = socket.create_connection(self._server)
        self._open += [client, server]
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(*ends, self._freezes), daemon=True).start()

    def _pump(self, source, target, freezes):
        with contextlib.suppress(OSError):  # either end has gone
            while part := source.recv(65536):
                if self._freezes == freezes:
                    target.sendall(part)
        for end in (source, target):
            _shut(end)


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
