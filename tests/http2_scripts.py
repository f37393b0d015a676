"""Servers of HTTP/2 that do what they are told, for clients that must cope."""

import socket
import threading

from tests import http2_frames as h2


class Script:
    """A server of one connection after the other, each of which does what it is told."""

    def __init__(self, *acts) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = 0
        self._acts = acts
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self._listener:
            for act in self._acts:
                sock, _ = self._listener.accept()
                with sock:
                    sock.sendall(h2.settings())
                    self._until_asked(sock)
                    self.asked += 1
                    act(sock)

    @staticmethod
    def _until_asked(sock: socket.socket) -> None:
        left = b""
        while True:
            left += sock.recv(1 << 16)
            at = len(h2.PREFACE)
            while len(left) >= at + 9:
                size, kind, flags = int.from_bytes(left[at : at + 3], "big"), left[at + 3], left[at + 4]
                if kind == h2.DATA and flags & h2.END_STREAM:
                    return
                at += 9 + size


def answers(sock: socket.socket) -> None:
    headers = h2.packed((b":status", b"200"), (b"content-type", b"application/grpc"))
    trailers = h2.packed((b"grpc-status", b"0"))
    sock.sendall(
        h2.frame(h2.HEADERS, h2.END_HEADERS, 1, headers)
        + h2.data(1, h2.message(b"done"))
        + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, trailers)
    )
    sock.recv(1 << 16)


def goes(sock: socket.socket) -> None:
    """GOAWAY that says that stream 1 was not looked at."""
    sock.sendall(h2.frame(h2.GOAWAY, payload=bytes(8)))


def refuses(sock: socket.socket) -> None:
    sock.sendall(h2.frame(h2.RST_STREAM, 0, 1, (7).to_bytes(4, "big")))


def vanishes(sock: socket.socket) -> None:
    pass


def trickles(sock: socket.socket) -> None:
    headers = h2.packed((b":status", b"200"), (b"content-type", b"application/grpc"))
    for byte in h2.frame(h2.HEADERS, h2.END_HEADERS, 1, headers) + h2.data(1, h2.message(b"done"))[:11]:
        sock.sendall(bytes([byte]))


def speaks_http(sock: socket.socket) -> None:
    headers = h2.packed((b":status", b"503"), (b"content-type", b"text/html"))
    sock.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, headers))
    sock.recv(1 << 16)


def breaks_the_protocol(sock: socket.socket) -> None:
    sock.sendall(h2.frame(h2.DATA, 0, 0, b"x"))
    sock.recv(1 << 16)


def says_goodbye(sock: socket.socket) -> None:
    """GOAWAY that takes stream 1, then its answer: the connection is over with it."""
    sock.sendall(h2.frame(h2.GOAWAY, payload=(1).to_bytes(4, "big") + bytes(4)))
    answers(sock)


def says_goodbye_behind(sock: socket.socket) -> None:
    headers = h2.packed((b":status", b"200"), (b"content-type", b"application/grpc"))
    trailers = h2.packed((b"grpc-status", b"0"))
    sock.sendall(
        h2.frame(h2.HEADERS, h2.END_HEADERS, 1, headers)
        + h2.data(1, h2.message(b"done"))
        + h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, trailers)
        + h2.frame(h2.GOAWAY, payload=(1).to_bytes(4, "big") + bytes(4))
        + h2.frame(h2.PING, 0, 0, b"pingping")
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
