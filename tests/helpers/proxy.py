"""A proxy that breaks connections."""

import contextlib
import socket
import threading
import time


class Proxy:
    """Passes TCP connections on, and breaks each after a number of bytes from the server: cuts it, or lets it hang.

    `limits` are these numbers, for the first connection, the second, and so on; later connections are not broken.
    """

    def __init__(self, port: int, limits: list[int], hang: bool = False) -> None:
        self._target_port = port
        self._limits = list(limits)
        self._hang = hang
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.n_connections = 0
        self.n_bytes = 0  # from the server, of connections with a limit
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.n_connections += 1
                limit = self._limits.pop(0) if self._limits else None
                server = socket.create_connection(("127.0.0.1", self._target_port))
                threading.Thread(target=self._pass_on, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, limit), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        n_passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if limit is not None:
                    data = data[: limit - n_passed]
                    n_passed += len(data)
                    self.n_bytes += len(data)
                sink.sendall(data)
                if limit is not None and n_passed >= limit:
                    if self._hang:
                        time.sleep(3600)
                    break
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
