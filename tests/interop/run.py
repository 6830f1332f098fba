#!/usr/bin/env python3
"""Runs the countersign command against the peer in countersign.py, both ways round, and the peer against the vectors.

    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    cargo build -p countersign-cli
    venv/bin/python tests/interop/run.py --countersign target/debug/countersign

One line for each case; the exit status is 1 if any failed. Nothing waits but on output, a connection or its end.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # no __pycache__ among the tests

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import check
from countersign import (AEADS, BINDER, CLIENT_HELLO, CLIENT_LOGIN, DATA, FORWARD_SECRET, KEY_UPDATE, MAX_TICKET,
                         PASSWORD, SERVER_HELLO, SERVER_RESUMPTION, SERVER_VERDICT, TAG, TOKEN, X25519, Account,
                         Client, ClientHello, Credential, Direction, Draws, Refused, Server, ServerHello,
                         ServerResumption, Session, Ticket, Tickets, Verdict, binder, client_share, fingerprint, frame,
                         fresh, key_id, seed, spki_of, u8, u16)
from sockets import Channel, Ended, Stream, login, serve

PATIENCE = 20.0  # seconds for any one thing to happen
ALL_PATIENCE = 240  # and for everything
USER, SECRET, PERMISSIONS = "alice", b"correct horse battery staple", ["read", "write"]
GOOD = Credential(PASSWORD, USER, SECRET)


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r}, expected {wanted!r}")


class OutOfTime(BaseException):
    """Ends the run, not a case."""


class Report:
    def __init__(self) -> None:
        self.passed, self.failed = 0, 0

    def case(self, name: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as why:
            self.failed += 1
            print(f"FAIL  {name}: {type(why).__name__}: {why}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)


class Command:
    """The countersign command, in a folder of its own."""

    def __init__(self, path: str, folder: Path):
        self.path, self.folder = path, folder

    def has(self, subcommand: str, option: str) -> bool:
        return option in self.run(subcommand, "--help").stdout.decode()

    def state(self) -> str:
        """A new, empty folder for what a command remembers."""
        return tempfile.mkdtemp(prefix="state-", dir=self.folder)

    def environment(self, state: str = "") -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": state or self.state()}

    def run(self, *args: str, stdin: bytes = b"", status: Optional[int] = 0,
            state: str = "") -> subprocess.CompletedProcess[bytes]:
        """Runs it and wants this exit status; None: any but 0. Without `state`, it remembers nothing."""
        done = subprocess.run([self.path, *args], cwd=self.folder, input=stdin, capture_output=True, timeout=PATIENCE,
                              env=self.environment(state))
        if done.returncode != status and (status is not None or done.returncode == 0):
            said = done.stderr.decode(errors="replace").strip()
            wanted = "a failure" if status is None else status
            raise AssertionError(f"{args[0]} exited with {done.returncode}, expected {wanted}: {said}")
        return done


class RustServer:
    """`countersign serve`, and the lines it has written."""

    def __init__(self, command: Command, key: str, timeout: str = "60s", *options: str):
        # The default timeout is longer than any case waits, so none passes because the server gave up waiting.
        self.lines: list[str] = []
        self.ended = False
        self.grown = threading.Condition()
        self.process = subprocess.Popen(
            [command.path, "serve", "--listen", "127.0.0.1:0", "--key", key, "--users", "users.txt",
             "--handshake-timeout", timeout, *options], cwd=command.folder, env=command.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self.grown:
                self.lines.append(line.rstrip("\n"))
                self.grown.notify_all()
        with self.grown:
            self.ended = True
            self.grown.notify_all()

    def __enter__(self) -> RustServer:
        try:
            host, _, port = self.wait(r"listening on (.*)").rpartition(":")
            self.address, self.pin = (host, int(port)), self.wait(r"fingerprint (.*)")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(PATIENCE)

    def wait(self, pattern: str) -> str:
        """The first group of the first line that matches; waits for it."""
        found: Optional[re.Match[str]] = None

        def look() -> bool:
            nonlocal found
            found = next(filter(None, (re.search(pattern, line) for line in self.lines)), None)
            return found is not None or self.ended

        with self.grown:
            self.grown.wait_for(look, PATIENCE)
        if not found:
            raise AssertionError(f"the server never wrote {pattern!r}, but at last {self.lines[-4:]}")
        return found.group(1)

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(self.address, PATIENCE) as sock:
            yield sock

    @contextmanager
    def login(self, client: Client) -> Iterator[Channel]:
        with self.connect() as sock:
            channel = login(sock, client)
            channel.stream.deadline = time.monotonic() + PATIENCE
            yield channel


class PeerServer:
    """The Python server for one connection, on a thread. `outcome` is what came of it: `accepted`, the number of the
    rule by which it was refused, or `ended` if the client went away; `resumed` if a ticket was taken and its owner was
    there, `answered` if nothing has shown the latter."""

    def __init__(self, server: Server, talk: Optional[Callable[[Channel], None]] = None, port: int = 0):
        self.server, self.talk, self.port = server, talk or converse, port
        self.outcome, self.session_id = "nobody came", ""

    def __enter__(self) -> PeerServer:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.attend, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.thread.join(0 if kind else PATIENCE)
        self.listener.close()

    def attend(self) -> None:
        try:
            with self.listener.accept()[0] as sock:
                channel = serve(sock, self.server)
                self.session_id = channel.session.session_id.hex()
                channel.stream.deadline = time.monotonic() + PATIENCE
                self.outcome = "answered" if channel.session.resumed else "accepted"
                self.talk(channel)
                if channel.session.resumed and channel.session.peer_is_present():
                    self.outcome = "resumed"
        except Refused as why:
            self.outcome = why.rule
        except Ended:
            self.outcome = "ended"
        except Exception as why:
            self.outcome = f"{type(why).__name__}: {why}"


def converse(channel: Channel) -> None:
    for line in channel.lines():
        if line == b"quit":
            channel.send(b"bye\n")
            break
        channel.send(answer(line) + b"\n")
    channel.finish()


def answer(line: bytes) -> bytes:
    if line == b"whoami":
        return b"%s permissions=%s" % (USER.encode(), ",".join(PERMISSIONS).encode())
    return line.removeprefix(b"echo ")


def refused(rule: str, step: Callable[[], Any]) -> None:
    try:
        step()
    except Refused as why:
        expect("refused by", why.rule, rule)
    else:
        raise AssertionError(f"not refused by {rule}")


def load(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


# ---- Joined key shares, and what may be wrong with them -------------------------------------------------------------

def coefficient(share: bytes, at: int, value: int) -> bytes:
    """The client's share with this coefficient in its encapsulation key: 12 bits each, the lowest first."""
    bits = int.from_bytes(share, "little") & ~(0xfff << 12 * at) | value << 12 * at
    return bits.to_bytes(len(share), "little")


UNUSABLE: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda share: b"",
    "X25519's part alone": lambda share: share[-32:],
    "ML-KEM's part alone": lambda share: share[:-32],
    "a byte too few": lambda share: share[:-1],
    "a byte too many": lambda share: share + b"\0",
    "an X25519 part of zeros": lambda share: share[:-32] + bytes(32),
    "an X25519 part of small order": lambda share: share[:-32] + b"\x01" + bytes(31),
}
UNUSABLE_CLIENTS: dict[str, Callable[[bytes], bytes]] = {
    **UNUSABLE,
    "a first coefficient of 3329": lambda share: coefficient(share, 0, 3329),
    "a last coefficient of 4095": lambda share: coefficient(share, 767, 4095),
    "its parts the other way round": lambda share: share[-32:] + share[:-32],
}


def receiving(change: Callable[[bytes], bytes]) -> type[Client]:
    """A client that takes another share than what came, and that of the transcript."""
    class Receiving(Client):
        def exchange(self, suite: int, share: bytes, rule: str) -> bytes:
            return super().exchange(suite, change(share), rule)

    return Receiving


# ---- The Python client and `countersign serve` ----------------------------------------------------------------------

def client_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey, token: bytes) -> None:
    with RustServer(command, f"{name}.pem") as server:
        pin = key_id(spki_of(key.public_key()))
        report.case(f"serve, {name} key: fingerprint", lambda: expect("it", server.pin, fingerprint(pin)))
        for suite in FORWARD_SECRET:
            for kind, credential in (("password", GOOD), ("token", Credential(TOKEN, "", token))):
                client = Client(credential, [pin], suites=[suite], server_name="db.example")
                report.case(f"serve, {name} key, suite {suite:04x}, {kind}", lambda: session(server, client))
        if name == "keygen":
            refusal_cases(report, server, key, pin)
            record_cases(report, server, pin)
            deadline_cases(report, command, name)
    if name == "keygen" and command.has("serve", "--ticket-lifetime"):
        with RustServer(command, f"{name}.pem") as server:
            resumption_cases(report, command, server, pin, token)
    elif name == "keygen":
        print("`countersign serve` knows no tickets: they are left out")


def session(server: RustServer, client: Client) -> Session:
    with server.login(client) as channel:
        verdict = channel.session.verdict
        expect("the verdict", (verdict.principal, verdict.permissions), (USER, PERMISSIONS))
        lines = channel.lines()
        for line in (b"whoami", b"echo x", b"quit"):
            channel.send(line + b"\n")
            expect("the answer", next(lines), b"bye" if line == b"quit" else answer(line))
        channel.finish()
        expect("closed by the server", channel.session.incoming.closed, True)
        # The server's log line of this session: both ends have the same session id.
        event = "login-resumed" if channel.session.resumed else "login-accepted"
        server.wait(rf"event={event} .*(session={channel.session.session_id.hex()})")
        return channel.session


def refusal_cases(report: Report, server: RustServer, key: rsa.RSAPrivateKey, pin: bytes) -> None:
    def chooses(suite: int, data: bytes) -> None:
        """The server's choice for this ClientHello is version 1 and this suite."""
        with server.connect() as sock:
            sock.sendall(data)
            chosen = ServerHello.decode(Stream(sock).frame({SERVER_HELLO}, "C1")[3:])
            expect("the choice", (chosen.version, chosen.suite), (1, suite))

    def knows_key() -> None:
        client = Client(GOOD, known_keys=[spki_of(key.public_key())])
        with server.login(client) as channel:
            channel.finish()
        with server.connect() as sock:
            sock.sendall(client.hello())
            hello = ServerHello.decode(Stream(sock).frame({SERVER_HELLO}, "C1")[3:])
            expect("spki", hello.spki, b"")

    def wrong_pin() -> None:
        with server.connect() as sock:
            refused("T1", lambda: login(sock, Client(GOOD, [bytes(32)])))
            port = sock.getsockname()[1]
        server.wait(rf"(event=handshake-failed) peer=127.0.0.1:{port} ")

    def rejected(client: Client, rule: str) -> None:
        """One verdict comes, whatever the reason, and then the end."""
        with server.connect() as sock:
            refused(rule, lambda: login(sock, client))
            expect("after the verdict", rest(sock), b"")

    def silent(*data: bytes, ends: bool = False) -> None:
        """The server closes and says nothing."""
        with server.connect() as sock:
            sock.sendall(b"".join(data))
            if ends:
                sock.shutdown(socket.SHUT_WR)
            expect("the answer", rest(sock), b"")

    def silent_login(cut: int) -> None:
        """The stream ends within the ClientLogin."""
        with server.connect() as sock:
            client = Client(GOOD, [pin])
            sock.sendall(client.hello())
            sock.sendall(client.on_server_hello(Stream(sock).frame({SERVER_HELLO}, "C1"))[:cut])
            sock.shutdown(socket.SHUT_WR)
            expect("the answer", rest(sock), b"")

    def refused_login(data: bytes) -> None:
        """These bytes in place of a ClientLogin are answered, without waiting for more."""
        with server.connect() as sock:
            sock.sendall(Client(GOOD, [pin]).hello())
            stream = Stream(sock)
            stream.frame({SERVER_HELLO}, "C1")
            sock.sendall(data)
            expect("the verdict", len(stream.frame({SERVER_VERDICT}, "V1")), 1555)
            expect("after the verdict", rest(sock), b"")

    def hello(*suites: int, **changes: Any) -> bytes:
        client = Client(GOOD, [pin], suites=suites or FORWARD_SECRET)
        message = ClientHello.decode(client.hello()[3:])
        for name, value in changes.items():
            setattr(message, name, value)
        return frame(1, message.encode())

    def unusable_share(change: Callable[[bytes], bytes]) -> None:
        with server.connect() as sock:
            refused("C9", lambda: login(sock, receiving(change)(GOOD, [pin], suites=[0x0301])))

    def altered_ciphertext() -> None:
        """Altered on the way: the ServerHello is taken, and then both ends disagree."""
        client = Client(GOOD, [pin], suites=[0x0301])
        with server.connect() as sock:
            sock.sendall(client.hello())
            stream = Stream(sock)
            answer = stream.frame({SERVER_HELLO}, "C1")
            message = ServerHello.decode(answer[3:])
            message.key_share = check.flip(0)(message.key_share)
            sock.sendall(client.on_server_hello(frame(SERVER_HELLO, message.encode())))
            refused("V2", lambda: client.on_verdict(stream.frame({SERVER_VERDICT}, "V1")))

    share, joined = (2, X25519.offer(fresh())), client_share(3, Draws().exchanges[3])
    report.case("serve: the client knows the key", knows_key)
    report.case("serve: of all suites, 0301", lambda: chooses(0x0301, hello(*AEADS)))
    report.case("serve: of those without ML-KEM, 0201", lambda: chooses(0x0201, hello(0x0202, 0x0201)))
    report.case("serve: unknown versions and suites are skipped", lambda: chooses(
        0x0201, hello(versions=[7, 1], suites=[0x0a0b, 0x0202, 0x0201], key_shares=[(10, b"?"), share])))
    report.case("serve: key shares in another order", lambda: chooses(0x0301, hello(key_shares=[(3, joined), share])))
    report.case("serve: an unusable share of a key exchange that is not picked", lambda: chooses(
        0x0301, hello(key_shares=[(2, bytes(32)), (3, joined)])))
    report.case("serve: the largest coefficient, 3328", lambda: chooses(
        0x0301, hello(0x0301, key_shares=[(3, coefficient(joined, 0, 3328))])))
    for name, credential in (("wrong password", Credential(PASSWORD, USER, b"wrong")),
                             ("unknown user", Credential(PASSWORD, "mallory", SECRET)),
                             ("unknown token", Credential(TOKEN, "", b"unknown"))):
        report.case(f"serve: {name}", lambda: rejected(Client(credential, [pin]), "V4"))
    report.case("serve: wrong pin", wrong_pin)
    report.case("serve: another prologue", lambda: rejected(Client(GOOD, [pin], prologue=b"x"), "V2"))
    for rule, change in (("L2", lambda login: frame(CLIENT_LOGIN, login[3:] + b"\0")),
                         ("L3", lambda login: login[:5] + b"\xff" * 256 + login[261:]),
                         ("L4", lambda login: frame(CLIENT_LOGIN, login[3:261] + b"\x01\x0f" + login[263:-1])),
                         ("L6", check.flip(260)), ("L7", check.flip(-1 + 535))):
        report.case(f"serve: {rule}", lambda: rejected(altered(Client, "on_server_hello", change)(GOOD, [pin]), "V2"))
    report.case("serve: an altered ciphertext", altered_ciphertext)
    report.case("serve: another ciphertext", lambda: rejected(
        receiving(check.flip(0))(GOOD, [pin], suites=[0x0301]), "V2"))
    for about, unusable in UNUSABLE.items():
        report.case(f"serve: C9, a joined share: {about}", lambda: unusable_share(unusable))
    padded = Client(GOOD, [pin])
    padded.plaintext += bytes(256)
    report.case("serve: L8, a block of padding too many", lambda: rejected(padded, "V4"))
    report.case("serve: L1, a frame of another type", lambda: refused_login(b"\x05"))
    report.case("serve: L1, an impossible length", lambda: refused_login(b"\x03\x16\x15"))
    report.case("serve: the stream ends within the ClientHello", lambda: silent(hello()[:-1], ends=True))
    for cut in (0, 1, 300):
        report.case(f"serve: the stream ends {cut} bytes into the ClientLogin", lambda: silent_login(cut))
    report.case("serve: S1, a frame of another type", lambda: silent(b"\x03"))
    report.case("serve: S1, an impossible length", lambda: silent(b"\x01\x10\x7a"))
    report.case("serve: S2", lambda: silent(frame(1, hello()[3:] + b"\0")))
    for rule, changes in (("S3", {"versions": []}), ("S4", {"key_shares": [share, share]}),
                          ("S5", {"suites": [0x0201, 0x0301]}), ("S6", {"server_name": "a b"}),
                          ("S7", {"versions": [2]}), ("S8", {"suites": [0x0209]}),
                          ("S9", {"key_shares": [(2, bytes(32))]}), ("S9", {"key_shares": [(2, joined)]}),
                          ("S11", {"ticket": bytes(MAX_TICKET + 1), "binder": bytes(BINDER)}),
                          ("S11", {"ticket": b"ticket"}), ("S11", {"binder": bytes(BINDER)}),
                          ("S11", {"ticket": b"ticket", "binder": bytes(BINDER - 1)})):
        data = hello(0x0201, **changes)
        report.case(f"serve: {rule}", lambda: silent(data))
    for about, unusable in UNUSABLE_CLIENTS.items():
        report.case(f"serve: S9, a joined share: {about}", lambda: silent(
            hello(0x0301, key_shares=[(3, unusable(joined))])))


def rest(sock: socket.socket) -> bytes:
    """What comes until the end. A server that closed before it had read everything resets the connection."""
    data = b""
    try:
        while piece := sock.recv(4096):
            data += piece
    except ConnectionResetError:
        pass
    return data


def altered(base: Any, method: str, change: Callable[[bytes], bytes]) -> Any:
    """The class, with the frame that a method gives changed on the way."""
    def changed(self: Any, *received: bytes) -> Any:
        result = getattr(base, method)(self, *received)
        return (change(result[0]), *result[1:]) if isinstance(result, tuple) else change(result)

    return type("Altered", (base,), {method: changed})


def record_cases(report: Report, server: RustServer, pin: bytes) -> None:
    def updates() -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            text, lines = b"x" * 4000, channel.lines()
            for _ in range(2):
                channel.send(b"echo " + text[:1000])
                channel.update_key()
                channel.update_key()
                channel.send(text[1000:] + b"\n")
                expect("the answer", next(lines), text)
            channel.finish()

    def broken(change: Callable[[bytes], bytes]) -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            channel.stream.write(change(channel.session.outgoing.seal(DATA, b"whoami\n")))
            expect("the answer", rest(channel.stream.sock), b"")

    report.case("serve: key updates within a line", updates)
    report.case("serve: R1, an impossible length", lambda: broken(lambda record: b"\x05\x00\x10"))
    report.case("serve: R2, an altered record", lambda: broken(check.flip(3)))

    def first_update() -> None:
        with server.login(Client(GOOD, [pin])) as channel:
            channel.stream.write(unused_update(channel.session.outgoing))
            expect("the answer", rest(channel.stream.sock), b"")

    report.case("serve: R6, an update of an unused key", first_update)


def unused_update(direction: Direction) -> bytes:
    """The KeyUpdate that seal() would not make: it is the first frame under its key, but sealed as it should be."""
    header = u8(KEY_UPDATE) + u16(TAG)
    return header + direction.cipher.encrypt(direction.nonce(), b"", header)


# ---- Tickets of `countersign serve` ---------------------------------------------------------------------------------

NO_CREDENTIAL = Credential(PASSWORD, USER, b"not the password")  # a full login fails with it


def resumption_cases(report: Report, command: Command, server: RustServer, pin: bytes, token: bytes) -> None:
    def ticket(credential: Credential = GOOD, at: RustServer = server, **options: Any) -> Ticket:
        """That of a full login."""
        with at.login(Client(credential, [pin], **options)) as channel:
            channel.finish()
            expect("resumed", channel.session.resumed, False)
            assert channel.session.ticket, "no ticket"
            return channel.session.ticket

    def comes_back(client: Client, resumed: bool, at: RustServer = server) -> Optional[Ticket]:
        """Logs in, with a few lines, by the ticket or without it."""
        assert client.ticket, "the ticket is not shown"
        ended = session(at, client)
        expect("resumed", ended.resumed, resumed)
        return ended.ticket

    def twice_in_a_row(credential: Credential, suite: int) -> None:
        options: dict[str, Any] = {"suites": [suite], "server_name": "db.example"}
        shown: Optional[Ticket] = ticket(credential, **options)
        seen = []
        for _ in range(3):
            assert shown, "no ticket"
            seen.append(shown.ticket)
            shown = comes_back(Client(NO_CREDENTIAL, [pin], ticket=shown, **options), True)
        expect("different tickets", len(set(seen)), 3)

    def lifetime() -> None:
        now = int(time.time())
        with RustServer(command, "keygen.pem", "60s", "--ticket-lifetime", "300s") as other:
            expires = ticket(at=other).expires
        expect("expires in 300 seconds", now + 299 <= expires <= now + 310, True)

    def none() -> None:
        with RustServer(command, "keygen.pem", "60s", "--ticket-lifetime", "0s") as other:
            with other.login(Client(GOOD, [pin])) as channel:
                channel.finish()
                verdict = channel.session.verdict
        expect("the ticket", (verdict.ticket, verdict.ticket_expires), (b"", 0))

    def other_server() -> None:
        shown = ticket()
        with RustServer(command, "keygen.pem") as other:
            comes_back(Client(GOOD, [pin], ticket=shown), False, other)

    def again() -> None:
        shown = ticket()
        comes_back(Client(NO_CREDENTIAL, [pin], ticket=shown), True)
        client = Client(GOOD, [pin], ticket=shown)
        with server.login(client) as channel:  # resumed, unless tickets are for single use
            channel.send(b"whoami\n")
            expect("the answer", next(channel.lines()), answer(b"whoami"))

    def replayed(junk: bytes, first: bool) -> None:
        """A recorded ClientHello from somebody else: if it is answered, that is all they ever get."""
        client = Client(NO_CREDENTIAL, [pin], ticket=ticket())
        hello = client.hello()
        if not first:
            comes_back(client, True)  # with the same bytes: its draws are drawn once
        with server.connect() as sock:
            port = sock.getsockname()[1]
            sock.sendall(hello)
            kind = Stream(sock).frame({SERVER_HELLO, SERVER_RESUMPTION}, "A1")[0]
            if first:
                expect("the answer", kind, SERVER_RESUMPTION)
            if kind == SERVER_RESUMPTION:
                sock.sendall(junk)
                sock.shutdown(socket.SHUT_WR)
                expect("after the resumption", rest(sock), b"")
                # It never was a login.
                server.wait(rf"event=handshake-failed .*peer=127.0.0.1:{port} .*(the session is broken)")

    def fallback(change: Callable[[Client], Any], **options: Any) -> None:
        """Something is wrong with what is shown: a ServerHello comes, and the login goes on with it."""
        client = Client(GOOD, [pin], **options)
        client.ticket = ticket()
        change(client)
        comes_back(client, False)

    def ticket_of(change: Callable[[bytes], bytes]) -> Callable[[Client], None]:
        def changes(client: Client) -> None:
            assert client.ticket
            client.ticket.ticket = change(client.ticket.ticket)

        return changes

    def wrong_secret(client: Client) -> None:
        assert client.ticket
        client.ticket.secret = bytes(32)

    def altered_hello(change: Callable[[bytes], bytes]) -> None:
        """Changed on the way, after the binder was made: the ticket is not taken, and then both ends disagree."""
        client = altered(Client, "hello", change)(GOOD, [pin], ticket=ticket())
        with server.connect() as sock:
            refused("V2", lambda: login(sock, client))

    def other_prologue() -> None:
        with server.connect() as sock:
            refused("V2", lambda: login(sock, Client(GOOD, [pin], ticket=ticket(), prologue=b"x")))

    def unusable_share(change: Callable[[bytes], bytes]) -> None:
        """The ticket is good, and the binder is right."""
        shown = ticket(suites=[0x0301])
        message = ClientHello.decode(Client(NO_CREDENTIAL, [pin], suites=[0x0301], ticket=shown).hello()[3:])
        message.key_shares = [(3, change(dict(message.key_shares)[3]))]
        message.binder = binder(shown.secret, seed(b"", ("", b"")), frame(CLIENT_HELLO, message.encode()))
        with server.connect() as sock:
            sock.sendall(frame(CLIENT_HELLO, message.encode()))
            expect("the answer", rest(sock), b"")

    def other_share(rule: str, change: Callable[[bytes], bytes]) -> None:
        """Of the server's."""
        client = receiving(change)(NO_CREDENTIAL, [pin], suites=[0x0301], ticket=ticket(suites=[0x0301]))
        with server.connect() as sock:
            refused(rule, lambda: login(sock, client))

    def changed_account() -> None:
        """Tickets die with any change of the account."""
        def bob(password: bytes, shown: Optional[Ticket] = None) -> Session:
            with server.login(Client(Credential(PASSWORD, "bob", password), [pin], ticket=shown)) as channel:
                channel.finish()
                return channel.session

        command.run("user", "add", "bob", "--users", "users.txt", "--password-stdin", stdin=b"first\n")
        shown = bob(b"first").ticket
        expect("resumed", bob(b"?", shown).resumed, True)
        command.run("user", "passwd", "bob", "--users", "users.txt", "--password-stdin", stdin=b"second\n")
        refused("V4", lambda: bob(b"first", shown))
        renewed = bob(b"second", shown)
        expect("resumed after passwd", renewed.resumed, False)
        expect("resumed with the new ticket", bob(b"?", renewed.ticket).resumed, True)
        command.run("user", "remove", "bob", "--users", "users.txt")
        refused("V4", lambda: bob(b"second", renewed.ticket))

    for suite in FORWARD_SECRET:
        for kind, credential in (("password", GOOD), ("token", Credential(TOKEN, "", token))):
            report.case(f"serve, tickets: in a row, suite {suite:04x}, {kind}",
                        lambda: twice_in_a_row(credential, suite))
    report.case("serve, tickets: their lifetime", lifetime)
    report.case("serve, tickets: none with a lifetime of 0", none)
    report.case("serve, tickets: K1, of another server", other_server)
    report.case("serve, tickets: the same again", again)
    for about, junk in (("nothing more", b""), ("and a record", b"\x05\x00\x17" + bytes(23)),
                        ("and a Close", b"\x07\x00\x10" + bytes(16))):
        for first, name in ((True, "a stolen"), (False, "a replayed")):
            report.case(f"serve, tickets: {name} ClientHello, {about}", lambda: replayed(junk, first))
    for at in (0, 20, -1):
        report.case(f"serve, tickets: K1, byte {at} of it altered", lambda: fallback(ticket_of(
            lambda data: check.flip(at % len(data))(data))))
    for about, other in (("of 1 byte", b"x"), ("of 500 bytes", bytes(MAX_TICKET))):
        report.case(f"serve, tickets: K1, {about}", lambda: fallback(ticket_of(lambda data: other)))
    report.case("serve, tickets: K1, cut short", lambda: fallback(ticket_of(lambda data: data[:-1])))
    report.case("serve, tickets: K1, too long", lambda: fallback(ticket_of(lambda data: data + b"\0")))
    report.case("serve, tickets: K3, a binder of another secret", lambda: fallback(wrong_secret))
    report.case("serve, tickets: K3, an altered binder", lambda: altered_hello(lambda data: check.flip(len(data) - 1)(
        data)))
    report.case("serve, tickets: K3, an altered nonce", lambda: altered_hello(
        check.flip(3 + 3 + 1 + 2 * len(FORWARD_SECRET))))
    report.case("serve, tickets: K3, another prologue", other_prologue)
    report.case("serve, tickets: K4, its suite is not offered", lambda: fallback(lambda client: None, suites=[0x0202]))
    for about, unusable in UNUSABLE_CLIENTS.items():
        report.case(f"serve, tickets: S9, a joined share: {about}", lambda: unusable_share(unusable))
    for about, unusable in UNUSABLE.items():
        report.case(f"serve, tickets: A4, a joined share: {about}", lambda: other_share("A4", unusable))
    report.case("serve, tickets: A5, another ciphertext", lambda: other_share("A5", check.flip(0)))
    report.case("serve, tickets: K7, the account has changed", changed_account)


def deadline_cases(report: Report, command: Command, name: str) -> None:
    def silent(data: bytes, answers: bool) -> None:
        with server.connect() as sock:
            sock.sendall(Client(GOOD).hello() + data if answers else data)
            if answers:
                Stream(sock).frame({SERVER_HELLO}, "C1")
            expect("the answer", rest(sock), b"")

    with RustServer(command, f"{name}.pem", "1s") as server:
        report.case("serve: the deadline passes before the ClientHello", lambda: silent(b"", False))
        report.case("serve: the deadline passes within the ClientLogin", lambda: silent(b"\x03\x02\x14", True))


# ---- `countersign login` and the Python server ----------------------------------------------------------------------

def server_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey, token: bytes) -> None:
    pin = fingerprint(key_id(spki_of(key.public_key())))

    def verify(credential: Credential) -> Optional[Verdict]:
        return Verdict(True, USER, PERMISSIONS) if credential in (GOOD, Credential(TOKEN, "", token)) else None

    def case(about: str, status: Optional[int], outcome: str, *, base: Any = Server, secret: bytes = SECRET,
             who: tuple[str, ...] = ("--user", USER, "--password-stdin"), trust: tuple[str, ...] = ("--pin", pin),
             talk: Optional[Callable[[Channel], None]] = None, also: Callable[[Server], None] = lambda server: None,
             **options: Any) -> None:
        def step() -> None:
            sent = ("whoami", "echo x", "quit")
            server = base(key, verify, **options)
            with PeerServer(server, talk) as peer:
                done = command.run("login", "--server", peer.address, *who, *trust,
                                   *(word for line in sent for word in ("--send", line)),
                                   stdin=secret + b"\n", status=status)
            expect("the server's end", peer.outcome, outcome)
            if status == 0:
                answers = [answer(line.encode()) for line in sent[:-1]] + [b"bye"]
                expect("the answers", done.stdout.splitlines(), answers)
                expect("the session id is on stderr", peer.session_id in done.stderr.decode(), True)
            also(server)

        report.case(f"login, {about}", step)

    for suite in FORWARD_SECRET:
        case(f"{name} key, suite {suite:04x}", 0, "accepted", suites=[suite])
    if name != "keygen":
        return
    offers: list[ClientHello] = []

    class Listening(Server):
        def on_client_hello(self, received: bytes) -> bytes:
            offers[:] = [ClientHello.decode(received[3:])]
            return super().on_client_hello(received)

    def offered(_: Server) -> None:
        expect("the suites", offers[0].suites, list(FORWARD_SECRET))
        shares = dict(offers[0].key_shares)
        expect("the sizes of the shares", {exchange: len(share) for exchange, share in shares.items()},
               {2: 32, 3: 1184 + 32})
        expect("an X25519 key serves two shares", shares[3].endswith(shares[2]), False)

    case("its offer", 0, "accepted", base=Listening, suites=AEADS, also=offered)
    case("a token", 0, "accepted", secret=token, who=("--token-stdin",))

    sizes: list[int] = []

    class Measured(Server):
        def on_client_hello(self, received: bytes) -> bytes:
            hello = super().on_client_hello(received)
            sizes[:] = [len(ServerHello.decode(hello[3:]).spki)]
            return hello

    case("the whole key given", 0, "accepted", base=Measured, trust=("--server-key", f"{name}.pub.pem"),
         also=lambda server: expect("the bytes of spki", sizes, [0]))
    case("wrong password", 1, "L10", secret=b"wrong")
    case("unknown user", 1, "L10", who=("--user", "mallory", "--password-stdin"))
    case("wrong pin", 3, "ended", trust=("--pin", fingerprint(bytes(32))))
    case("the server takes tokens only", 6, "ended", kinds=[TOKEN])
    case("the server takes RSA alone", 4, "S8", suites=[0x0101, 0x0102])

    def receives(change: Callable[[bytes], bytes]) -> type[Server]:
        """A server that takes another share than what came."""
        class Receiving(Server):
            def exchange(self, suite: int, hello: ClientHello) -> tuple[bytes, bytes]:
                share = change(dict(hello.key_shares)[suite >> 8])
                return super().exchange(suite, replace(hello, key_shares=[(suite >> 8, share)]))

        return Receiving

    for about, unusable in UNUSABLE_CLIENTS.items():
        case(f"S9: a joined share: {about}", 4, "S9", base=receives(unusable), suites=[0x0301])

    def hello(**changes: Callable[[Any], Any]) -> Any:
        def change(data: bytes) -> bytes:
            message = ServerHello.decode(data[3:])
            for name, changed in changes.items():
                setattr(message, name, changed(getattr(message, name)))
            return frame(SERVER_HELLO, message.encode())

        return altered(Server, "on_client_hello", change)

    case("C1: a frame of another type", 5, "ended", base=altered(Server, "on_client_hello", lambda data: b"\x04"))
    case("C2: a byte too many", 5, "ended", base=altered(
        Server, "on_client_hello", lambda data: frame(SERVER_HELLO, data[3:] + b"\0")))
    case("C3: a version that was not offered", 5, "ended", base=hello(version=lambda _: 2))
    case("C4: a suite that was not offered", 5, "ended", base=hello(suite=lambda _: 0x0101, key_share=lambda _: b""))
    case("C5: no credential kinds", 5, "ended", base=hello(credential_kinds=lambda _: []))
    case("C6: no key, and none listed", 5, "ended", base=hello(spki=lambda _: b""))
    case("C8: a changed key id", 5, "ended", base=hello(key_id=check.flip(0)))
    case("C9: a share of zeros", 5, "ended", base=hello(key_share=lambda _: bytes(32)), suites=[0x0201])
    for about, unusable in UNUSABLE.items():
        case(f"C9: a joined share: {about}", 5, "ended", base=hello(key_share=unusable), suites=[0x0301])
    case("a changed suite", 5, "L6", base=hello(suite=lambda suite: suite ^ 3))
    case("a changed challenge", 5, "L6", base=hello(nonce=check.flip(0)))
    case("a changed ciphertext", 5, "L6", base=hello(key_share=check.flip(0)), suites=[0x0301])
    case("another ciphertext", 5, "L7", base=altered(Server, "exchange", check.flip(0)), suites=[0x0301])
    case("V1: a verdict of another length", 5, "accepted", talk=hang_up, base=altered(
        Server, "on_client_login", lambda data: data[:2] + b"\x11"))
    case("V2: a changed verdict", 5, "accepted", talk=hang_up, base=altered(Server, "on_client_login", check.flip(3)))
    case("no verdict", 4, "accepted", talk=hang_up, base=altered(Server, "on_client_login", lambda data: b""))
    case("the deadline passes before the ServerHello", 4, "ended", trust=("--pin", pin, "--timeout", "1s"),
         base=altered(Server, "on_client_hello", lambda data: b""))
    case("key updates", 0, "accepted", talk=updating)
    case("R2: a changed record", 5, "accepted", talk=changed)
    case("R4: no Close", 4, "accepted", talk=truncated)
    case("R6: an update of an unused key", 5, "accepted", talk=updating_unused)
    if command.has("login", "--no-resume"):
        ticket_cases(report, command, key, verify)
    else:
        print("`countersign login` knows no tickets: they are left out")


def ticket_cases(report: Report, command: Command, key: rsa.RSAPrivateKey,
                 verify: Callable[[Credential], Optional[Verdict]]) -> None:
    """`countersign login` comes back to the Python server."""
    new_key = rsa.generate_private_key(65537, 2048)
    trust = tuple(word for each in (key, new_key)
                  for word in ("--pin", fingerprint(key_id(spki_of(each.public_key())))))

    class Visits:
        """A server at one address, the folder where the client keeps what it remembers, and the account."""

        def __init__(self, **options: Any):
            self.state, self.port, self.options = command.state(), 0, {"tickets": Tickets(), "key": key, **options}
            self.accounts = {USER: Account(1, PERMISSIONS)}

        def visit(self, status: int, outcome: str, base: Any = Server, secret: bytes = SECRET,
                  args: tuple[str, ...] = (), talk: Optional[Callable[[Channel], None]] = None,
                  **options: Any) -> Server:
            """One login."""
            sent = ("whoami", "echo x", "quit")
            server: Server = base(verify=verify, account=self.accounts.get, **{**self.options, **options})
            with PeerServer(server, talk, self.port) as peer:
                self.port = peer.port
                done = command.run("login", "--server", peer.address, "--user", USER, "--password-stdin", *trust,
                                   *(args or ("--resume",)),
                                   *(word for line in sent for word in ("--send", line)),
                                   stdin=secret + b"\n", status=status, state=self.state)
            expect("the server's end", peer.outcome, outcome)
            if status == 0:
                answers = [answer(line.encode()) for line in sent[:-1]] + [b"bye"]
                expect("the answers", done.stdout.splitlines(), answers)
                expect("the session id is on stderr", peer.session_id in done.stderr.decode(), True)
            return server

    def in_a_row(**options: Any) -> None:
        visits = Visits(**options)
        visits.visit(0, "accepted")
        for _ in range(3):
            visits.visit(0, "resumed", secret=b"not the password")
        for folder, _, names in os.walk(visits.state):
            for name in names:
                path = Path(folder, name)
                expect(f"the permissions of {name}", path.stat().st_mode & 0o077, 0)

    def falls_back(rule: str, change: Callable[[Visits], Any] = lambda visits: None, **options: Any) -> None:
        """The ticket is not taken; the login goes on, and brings a ticket that is taken."""
        visits = Visits()
        visits.visit(0, "accepted")
        change(visits)
        server = visits.visit(0, "accepted", **options)
        expect("why the ticket was not taken", server.not_taken and server.not_taken.rule, rule)
        visits.visit(0, "resumed", secret=b"not the password", **options)

    def used() -> None:
        """The client's memory is put back, so it shows a ticket that it has used."""
        visits = Visits(tickets=Tickets(single_use=True))
        visits.visit(0, "accepted")
        shutil.copytree(visits.state, visits.state + "-before")
        visits.visit(0, "resumed")
        visits.state += "-before"
        server = visits.visit(0, "accepted")
        expect("why the ticket was not taken", server.not_taken and server.not_taken.rule, "K6")

    def without() -> None:
        visits = Visits()
        visits.visit(0, "accepted")
        server = visits.visit(0, "accepted", args=("--no-resume",))
        expect("a ticket was shown", server.not_taken, None)

    def none_given() -> None:
        visits = Visits(tickets=None)
        visits.visit(0, "accepted")
        visits.visit(0, "accepted")

    def refuses(change: Callable[[bytes], bytes], method: str = "on_client_hello", **options: Any) -> None:
        visits = Visits(**options)
        visits.visit(0, "accepted")
        visits.visit(5, "answered", altered(Server, method, change), talk=hang_up)

    def message(**changes: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
        def change(data: bytes) -> bytes:
            answer = ServerResumption.decode(data[3:])
            for name, changed in changes.items():
                setattr(answer, name, changed(getattr(answer, name)))
            return frame(SERVER_RESUMPTION, answer.encode())

        return change

    class Rejecting(Server):
        def with_ticket(self, verdict: Verdict, shown: Optional[int] = None) -> Verdict:
            return super().with_ticket(verdict) if shown is None else Verdict(False)

    def reject() -> None:
        visits = Visits()
        visits.visit(0, "accepted", Rejecting)
        visits.visit(5, "answered", Rejecting, talk=hang_up)

    def late(visits: Visits) -> None:
        visits.options["tickets"].clock = lambda: time.time() + 3601

    for suite in FORWARD_SECRET:
        report.case(f"login, tickets: in a row, suite {suite:04x}", lambda: in_a_row(suites=[suite]))
    report.case("login, tickets: in a row, for single use", lambda: in_a_row(tickets=Tickets(single_use=True)))
    report.case("login, tickets: K1, the server's keys are others", lambda: falls_back(
        "K1", lambda visits: visits.options.update(tickets=Tickets())))
    report.case("login, tickets: K2, expired by the server's clock", lambda: falls_back("K2", late))
    report.case("login, tickets: K4, its suite is not taken", lambda: falls_back("K4", suites=[0x0202]))
    report.case("login, tickets: K5, the server has a new key", lambda: falls_back("K5", key=new_key))
    report.case("login, tickets: K6, used before", used)
    report.case("login, tickets: K7, the account has changed", lambda: falls_back(
        "K7", lambda visits: visits.accounts.update({USER: Account(2, PERMISSIONS)})))
    report.case("login, tickets: --no-resume", without)
    report.case("login, tickets: the server gives none", none_given)
    report.case("login, tickets: A1, a frame of another type", lambda: refuses(lambda data: b"\x04" + data[1:]))
    report.case("login, tickets: A1, an impossible length", lambda: refuses(lambda data: b"\x08\x06\x0f"))
    report.case("login, tickets: A2, a byte too many", lambda: refuses(
        lambda data: frame(SERVER_RESUMPTION, data[3:] + b"\0")))
    report.case("login, tickets: A3, a version that was not offered", lambda: refuses(message(version=lambda _: 2)))
    report.case("login, tickets: A3, another suite", lambda: refuses(message(suite=lambda suite: suite ^ 3)))
    report.case("login, tickets: A4, a share of zeros", lambda: refuses(
        message(key_share=lambda _: bytes(32)), suites=[0x0201]))
    report.case("login, tickets: A4, no share", lambda: refuses(message(key_share=lambda _: b""), suites=[0x0201]))
    for about, unusable in UNUSABLE.items():
        report.case(f"login, tickets: A4, a joined share: {about}", lambda: refuses(
            message(key_share=unusable), suites=[0x0301]))
    report.case("login, tickets: A5, another ciphertext", lambda: refuses(
        check.flip(0), "exchange", suites=[0x0301]))
    report.case("login, tickets: A5, an altered verdict", lambda: refuses(message(sealed_verdict=check.flip(0))))
    report.case("login, tickets: A5, an altered nonce", lambda: refuses(message(nonce=check.flip(0))))
    report.case("login, tickets: A6, a reject", reject)


def hang_up(channel: Channel) -> None:
    """Leaves without a word."""


def updating(channel: Channel) -> None:
    for line in channel.lines():
        said = b"bye" if line == b"quit" else answer(line)
        channel.update_key()
        channel.send(said[:1])
        channel.update_key()
        channel.send(said[1:] + b"\n")
    channel.finish()


def changed(channel: Channel) -> None:
    next(channel.lines())
    channel.stream.write(check.flip(3)(channel.session.outgoing.seal(DATA, b"mallory\n")))
    expect("after a refused record", rest(channel.stream.sock), b"")


def updating_unused(channel: Channel) -> None:
    next(channel.lines())
    channel.stream.write(unused_update(channel.session.outgoing))
    expect("after a refused record", rest(channel.stream.sock), b"")


def truncated(channel: Channel) -> None:
    for line in channel.lines():
        channel.send((b"bye" if line == b"quit" else answer(line)) + b"\n")
        if line == b"quit":
            break
    channel.stream.sock.shutdown(socket.SHUT_WR)
    rest(channel.stream.sock)


# ---- Everything -----------------------------------------------------------------------------------------------------

def prepare(command: Command) -> tuple[list[str], bytes]:
    """Makes the keys and the account; gives the keys' names and a token."""
    command.run("keygen", "--out", "keygen.pem", "--bits", "2048")
    names = ["keygen"]
    if openssl := shutil.which("openssl"):
        path = command.folder / "openssl.pem"
        subprocess.run([openssl, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
                       check=True, capture_output=True, timeout=PATIENCE * 3)
        path.chmod(0o600)
        names.append("openssl")
    else:
        print("there is no openssl: its key is left out")
    permissions = (word for permission in PERMISSIONS for word in ("--permission", permission))
    command.run("user", "add", USER, "--users", "users.txt", *permissions, "--password-stdin", stdin=SECRET + b"\n")
    return names, command.run("user", "token", USER, "--users", "users.txt").stdout.strip()


def too_long(*_: object) -> None:
    raise OutOfTime(f"not done after {ALL_PATIENCE} seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description="Interoperation of the countersign command and a peer in Python.")
    parser.add_argument("--countersign", required=True, metavar="PATH", help="the command, built")
    path = Path(parser.parse_args().countersign).resolve()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(ALL_PATIENCE)
    report = Report()
    for file in check.VECTORS:
        report.case(f"vector {file.stem}", lambda: check.vector(file).check())
    with tempfile.TemporaryDirectory(prefix="countersign-") as folder:
        command = Command(str(path), Path(folder))
        names, token = prepare(command)
        for name in names:
            key = load(command.folder / f"{name}.pem")
            client_cases(report, command, name, key, token)
            server_cases(report, command, name, key, token)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not check.VECTORS else 0


if __name__ == "__main__":
    sys.exit(main())
