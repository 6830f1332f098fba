"""Sockets for the client and the server of countersign.py: frames from a byte stream, deadlines, and records."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Optional

from countersign import (BODY, BUSY, CLIENT_FACTOR, CLIENT_HELLO, CLIENT_LOGIN, CLOSE, CONFIRM, DATA, KEY_UPDATE,
                         MAX_DATA, SERVER_HELLO, SERVER_RESUMPTION, SERVER_VERDICT, SOLUTION, Client, Refused, Server, Session,
                         require)

DEADLINE, FACTOR_DEADLINE, REFUSAL_DELAY, LEAVE = 10.0, 60.0, 0.25, 0.5  # seconds


class Ended(Exception):
    """The stream ended, or the deadline passed, before a frame was whole: close the connection and send nothing."""


class Stream:
    """Frames over a blocking socket, until a deadline."""

    def __init__(self, sock: socket.socket, seconds: float = DEADLINE):
        self.sock, self.received = sock, b""
        self.deadline = time.monotonic() + seconds

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int) -> None:
        goal = len(self.received) + size
        while len(self.received) < goal:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Ended("the deadline has passed")
            try:
                self.sock.settimeout(None if left == float("inf") else left)
                piece = self.sock.recv(goal - len(self.received))
            except OSError as why:  # a timeout, too
                raise Ended(str(why)) from None
            if not piece:
                raise Ended("the stream ended")
            self.received += piece

    def frame(self, kinds: set[int], rule: str, late_rule: str = "") -> bytes:
        """The next frame; what there is of it is in `received`, also if it is refused."""
        self.received = b""
        self.read(1)
        require(self.received[0] in kinds, rule, f"a frame of type {self.received[0]}")
        self.read(2)
        low, high = BODY[self.received[0]]
        size = int.from_bytes(self.received[1:], "big")
        require(low <= size <= high, rule, f"a frame of {size} bytes")
        self.read(size)
        require(time.monotonic() <= self.deadline, late_rule, "whole only after the deadline")
        return self.received


class Channel:
    """A session over a stream, with the handshake's deadline lifted."""

    def __init__(self, stream: Stream, session: Session):
        self.stream, self.session = stream, session
        stream.deadline = float("inf")

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), MAX_DATA):
            self.stream.write(self.session.outgoing.seal(DATA, data[at:at + MAX_DATA]))

    def update_key(self) -> None:
        self.stream.write(self.session.outgoing.seal(KEY_UPDATE))

    def receive(self) -> Optional[bytes]:
        """The next piece of data; None once the other side has closed its direction."""
        while not self.session.incoming.closed:
            try:
                record = self.stream.frame({DATA, KEY_UPDATE, CLOSE}, "R1")
            except Ended as why:
                raise Refused("R4", str(why)) from None
            data = self.session.incoming.open(record)
            if record[0] == DATA:
                return data
        return None

    def lines(self) -> Iterator[bytes]:
        """The lines that come, without their line feeds, until the other side closes its direction."""
        pending = b""
        while (data := self.receive()) is not None:
            *whole, pending = (pending + data).split(b"\n")
            yield from whole

    def finish(self) -> None:
        """Ends the session without losing bytes: Close, then reading until the other side's."""
        self.stream.write(self.session.outgoing.seal(CLOSE))
        while self.receive() is not None:
            pass


def login(sock: socket.socket, client: Client, streams: type[Stream] = Stream) -> Channel:
    stream = streams(sock)
    stream.write(client.hello())
    kinds, rules = {SERVER_HELLO, BUSY}, ("C1", "C10")
    if client.ticket:
        kinds, rules = kinds | {SERVER_RESUMPTION}, ("A1", "A7")
    answer = stream.frame(kinds, *rules)
    if answer[0] == BUSY and (solution := client.solve(answer)):
        stream.write(solution)
        answer = stream.frame(kinds, *rules)
    if answer[0] == BUSY:
        raise client.on_busy(answer)
    if answer[0] == SERVER_RESUMPTION:
        confirm, session = client.on_server_resumption(answer)
        stream.write(confirm)
        return Channel(stream, session)
    stream.write(client.on_server_hello(answer))
    while True:
        outcome = client.on_verdict(stream.frame({SERVER_VERDICT}, "V1", "V5"))
        if isinstance(outcome, Session):
            return Channel(stream, outcome)
        assert client.answers
        due = time.monotonic() + FACTOR_DEADLINE
        answer = client.answers(outcome)
        if time.monotonic() > due:
            raise Ended("the answer came too late")
        # As long as a handshake may take, to the next verdict.
        stream.deadline = time.monotonic() + DEADLINE
        stream.write(client.factor(answer))


def serve(sock: socket.socket, server: Server, streams: type[Stream] = Stream) -> Channel:
    stream = streams(sock)
    stream.write(server.on_client_hello(stream.frame({CLIENT_HELLO}, "S1", "S10")))
    if server.unsolved:
        stream.write(server.on_solution(stream.frame({SOLUTION}, "B2", "B4")))
    if server.ended:
        leave(stream)
        raise server.ended
    if server.resumes:
        return Channel(stream, server.on_confirm(stream.frame({CONFIRM}, "F1", "F3")))
    kind, rule, late_rule, step = CLIENT_LOGIN, "L1", "L5", server.on_client_login
    while True:
        broken: Optional[Refused] = None
        try:
            stream.frame({kind}, rule, late_rule)
        except Refused as why:
            broken = why
            if why.rule == late_rule:
                raise
        due = time.monotonic() + REFUSAL_DELAY
        answer, outcome = server.refuse(stream.received, broken) if broken else step(stream.received)
        if isinstance(outcome, Refused):
            time.sleep(max(0.0, due - time.monotonic()))
            stream.write(answer)
            leave(stream)
            raise outcome
        stream.write(answer)
        if isinstance(outcome, Session):
            return Channel(stream, outcome)
        kind, rule, late_rule, step = CLIENT_FACTOR, "N1", "N3", server.on_client_factor
        stream.deadline = time.monotonic() + FACTOR_DEADLINE


def leave(stream: Stream) -> None:
    """Ends our direction and reads until the client hangs up, so that what was sent last is not lost by a reset."""
    stream.deadline = time.monotonic() + LEAVE
    try:
        stream.sock.shutdown(socket.SHUT_WR)
        while True:
            stream.received = b""
            stream.read(1)
    except (Ended, OSError):
        pass
