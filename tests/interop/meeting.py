"""Two ends of countersign.py that meet over a socket pair, what may be changed between them, and ends that lie."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from cryptography.hazmat.primitives import serialization

from countersign import (ACCEPT, BINDER, CLIENT_HELLO, CLIENT_LOGIN, FORWARD_SECRET, NOT_NOW, PASSWORD, REJECT, TOKEN,
                         VERDICT_SIZE, Account, Client, ClientHello, Credential, KeyLogin, Refused, Server, Ticket,
                         Tickets, Verdict, binder, frame, key_id, seed, spki_of)
from report import expect
from sockets import Channel, Ended, Stream, login, serve

KEYS = Path(__file__).resolve().parents[1] / "keys"


def key_file(name: str) -> Any:
    return serialization.load_pem_private_key((KEYS / name).read_bytes(), None)


KEY, OTHER = key_file("rsa2048.pem"), key_file("other2048.pem")
SPKI, OTHER_SPKI = spki_of(KEY.public_key()), spki_of(OTHER.public_key())
PIN, OTHER_PIN = key_id(SPKI), key_id(OTHER_SPKI)
USER, SECRET, PERMISSIONS = "alice", b"correct horse battery staple", ["read", "write"]
GOOD, WRONG = Credential(PASSWORD, USER, SECRET), Credential(PASSWORD, USER, b"wrong")
OPAQUE = Credential(TOKEN, "", b"an-opaque-token")
Change = Callable[[bytes], bytes]
Changes = dict[int, Change]


def verify(credential: Credential) -> Optional[Verdict]:
    return Verdict(ACCEPT, USER, PERMISSIONS) if credential in (GOOD, OPAQUE) else None


def not_now(_: Credential) -> Optional[Verdict]:
    return Verdict(NOT_NOW)


# ---- Two ends, and what is between ----------------------------------------------------------------------------------

class Way:
    """One end's socket; frames of these types are changed as they leave."""

    def __init__(self, sock: socket.socket, changes: Changes):
        self.sock, self.changes, self.sent = sock, changes, list[bytes]()

    def sendall(self, data: bytes) -> None:
        if data:
            change = self.changes.get(data[0])
            data = change(data) if change else data
        self.sent.append(data)
        self.sock.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


End = Channel | Refused | Ended


class Meeting:
    """One handshake over a socket pair. What came of it is at `client` and `server`, and the frames, as they arrived,
    in `up` and `down`. A client that does not get a session hangs up."""

    def __init__(self, client: Client, server: Server, up: Optional[Changes] = None, down: Optional[Changes] = None,
                 late_at_client: int = 0, late_at_server: int = 0):
        near, far = socket.socketpair()
        self.sockets = Way(near, up or {}), Way(far, down or {})
        self.up, self.down = self.sockets[0].sent, self.sockets[1].sent
        self.server: End = Ended("it never came to an end")
        thread = threading.Thread(target=self.attend, args=(server, late(late_at_server)), daemon=True)
        thread.start()
        self.client = self.end(lambda: login(self.sockets[0], client, late(late_at_client)))  # type: ignore[arg-type]
        if not isinstance(self.client, Channel):
            near.close()
        thread.join(20)

    def attend(self, server: Server, streams: type[Stream]) -> None:
        self.server = self.end(lambda: serve(self.sockets[1], server, streams))  # type: ignore[arg-type]
        if not isinstance(self.server, Channel):
            self.sockets[1].close()

    @staticmethod
    def end(step: Callable[[], Channel]) -> End:
        try:
            return step()
        except (Refused, Ended) as why:
            return why

    def came_to(self, client: str, server: str) -> Meeting:
        """What the ends say: `ok`, `ended`, or the number of a rule."""
        expect("the client's and the server's end", (outcome(self.client), outcome(self.server)), (client, server))
        if client == server == "ok":
            self.check_session()
        self.close()
        return self

    def check_session(self) -> None:
        client, server = self.client, self.server
        assert isinstance(client, Channel) and isinstance(server, Channel)
        expect("session ids", client.session.session_id, server.session.session_id)
        expect("exported keys", client.session.export("x", b"y", 48), server.session.export("x", b"y", 48))
        expect("verdicts", client.session.verdict, server.session.verdict)
        client.send(b"to the server")
        expect("data", server.receive(), b"to the server")
        server.update_key()
        server.send(b"to the client")
        server.update_key()
        server.send(b"and again")
        expect("data", [client.receive(), client.receive()], [b"to the client", b"and again"])
        client.stream.write(client.session.outgoing.seal(7))
        expect("the client's Close", server.receive(), None)
        server.stream.write(server.session.outgoing.seal(7))
        expect("the server's Close", client.receive(), None)

    def close(self) -> None:
        for end in self.sockets:
            end.sock.close()

    def ticket(self) -> Ticket:
        assert isinstance(self.client, Channel) and self.client.session.ticket, "no ticket"
        return self.client.session.ticket


def outcome(end: End) -> str:
    return "ok" if isinstance(end, Channel) else "ended" if isinstance(end, Ended) else end.rule


def late(number: int) -> type[Stream]:
    """Streams whose frame of this number, from 1, is whole only after the deadline."""
    class Late(Stream):
        count = 0

        def frame(self, kinds: set[int], rule: str, late_rule: str = "") -> bytes:
            self.count += 1
            return super().frame(kinds, rule, late_rule)

        def read(self, size: int) -> None:
            super().read(size)
            if self.count == number and len(self.received) > 3:
                self.deadline = float("-inf")

    return Late


def flip(at: int, mask: int = 1) -> Change:
    return lambda data: data[:at % len(data)] + bytes([data[at] ^ mask]) + data[at % len(data) + 1:]


def message(cls: Any, **changes: Callable[[Any], Any]) -> Change:
    """Changes fields of a frame of this class."""
    def change(data: bytes) -> bytes:
        decoded = cls.decode(data[3:])
        for name, changed in changes.items():
            setattr(decoded, name, changed(getattr(decoded, name)))
        return frame(data[0], decoded.encode())

    return change


def client(credential: Credential | KeyLogin = GOOD, pins: Any = (), known: Any = (SPKI,), **options: Any) -> Client:
    return Client(credential, pins, known, **options)


def server(key: Any = KEY, check: Any = verify, **options: Any) -> Server:
    return Server(key, check, **options)


PINNED: dict[str, Any] = {"pins": [PIN], "known": ()}


def altered(base: Any, method: str, change: Change) -> Any:
    """The class, with the frame that a method gives changed on the way."""
    def changed(self: Any, *received: bytes) -> Any:
        result = getattr(base, method)(self, *received)
        return (change(result[0]), *result[1:]) if isinstance(result, tuple) else change(result)

    return type("Altered", (base,), {method: changed})


def hearing(change: Change) -> type[Client]:
    """A client whose ServerHello is changed on the way."""
    class Hearing(Client):
        def on_server_hello(self, received: bytes) -> bytes:
            return super().on_server_hello(change(received))

    return Hearing


# ---- Ends that lie --------------------------------------------------------------------------------------------------

class Sealing(Server):
    """Seals, in the place of its secret, nothing: what came in the hello never opens."""

    def unwrap(self, ciphertext: bytes, transcript: bytes) -> tuple[bytes, Optional[Refused]]:
        return super().unwrap(ciphertext, bytes(32))


class TwoKeys(Server):
    """Opens with its key, and answers under OTHER: its proof is right, but of the wrong one."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.spki = OTHER_SPKI

    def opens_under(self) -> bytes:
        return key_id(spki_of(self.key.public_key()))


class Lying(Client):
    """Sends another ClientLogin than it should, and knows that it did: its transcript_3 has what it sent, or nothing of
    it where the header alone is refused."""

    change: Change
    whole: bool

    def on_server_hello(self, received: bytes) -> bytes:
        sent = type(self).change(super().on_server_hello(received))
        heard = sent if self.whole else b""
        self.schedule.running = hashlib.sha256(seed(self.prologue, self.binding) + self.sent + received + heard)
        return sent


def lying(change_: Change, whole_: bool = True) -> type[Lying]:
    class Liar(Lying):
        change, whole = staticmethod(change_), whole_

    return Liar


def body(change: Callable[[bytes, bytes], bytes], size: int) -> Change:
    """Changes a ClientLogin, given as the field rsa_ciphertext, of this many bytes with its length, and the rest."""
    return lambda data: frame(CLIENT_LOGIN, change(data[3:3 + size], data[3 + size:]))


class Careless(Client):
    """Goes on whatever the proof is."""

    def is_proof(self, proof: bytes) -> bool:
        return True


class Judging(Server):
    """Its verdicts are these bytes, whatever it thinks."""

    said: bytes

    def seal(self, verdict: Verdict) -> bytes:
        return self.schedule.seal(b"verdict", self.said)


def judge(said_: bytes) -> type[Judging]:
    class Judge(Judging):
        said = said_

    return Judge


def judging(said: bytes, **options: Any) -> Server:
    return judge(said)(KEY, verify, **options)


def padded(verdict: bytes) -> bytes:
    return verdict.ljust(VERDICT_SIZE, b"\0")


def bad_verdicts() -> dict[str, bytes]:
    accept = Verdict(ACCEPT, USER, PERMISSIONS)

    def of(**changes: Any) -> bytes:
        return padded(replace(accept, **changes).encode())

    words = [f"{n:02}" + "x" * 62 for n in range(16)]
    return {
        "decision 4": of(decision=4, principal="", permissions=[]),
        "a reject with a principal": of(decision=REJECT, permissions=[]),
        "a not now with permissions": of(decision=NOT_NOW, principal=""),
        "a reject with a ticket": of(decision=REJECT, principal="", permissions=[], ticket=b"x", ticket_lifetime=1),
        "a not now with a ticket": of(decision=NOT_NOW, principal="", permissions=[], ticket=b"x", ticket_lifetime=1),
        "no principal": of(principal=""),
        "a principal with a control character": of(principal="a\x7f"),
        "a long principal": of(principal="x" * 256),
        "a permission twice": of(permissions=["a", "a"]),
        "a permission with a comma": of(permissions=["a,b"]),
        "a permission of 65 bytes": of(permissions=["x" * 65]),
        "an empty permission": of(permissions=[""]),
        "a wildcard in the middle": of(permissions=["a:*:b"]),
        "a wildcard that is a part of a word": of(permissions=["a*"]),
        "33 permissions": of(permissions=[str(n) for n in range(33)]),
        "a grant of 1025 bytes": of(principal="x" * 255, permissions=words[:11] + ["y" * 38]),
        "a ticket of 501 bytes": of(ticket=bytes(501), ticket_lifetime=1),
        "a ticket without a lifetime": of(ticket=b"x"),
        "a lifetime without a ticket": of(ticket_lifetime=1),
        "an extension twice": of(extensions=[(9, b""), (9, b"")]),
        "extensions of 481 bytes": of(extensions=[(9, bytes(477))]),
        "seventeen extensions": of(extensions=[(n, b"") for n in range(17)]),
        "padding": of()[:-1] + b"\1",
        "text that is not UTF-8": padded(accept.encode().replace(b"alice", b"alic\xff")),
        "no length that fits": padded(b"\1\xff\xff"),
    }


# ---- Tickets --------------------------------------------------------------------------------------------------------

ACCOUNTS = {USER: Account(1, PERMISSIONS)}


def with_tickets(**options: Any) -> dict[str, Any]:
    return {"tickets": Tickets(), "account": ACCOUNTS.get, **options}


def ticket_for(end: Server, credential: Credential | KeyLogin = GOOD, **options: Any) -> Ticket:
    """That of a full login at a server."""
    options = {"suites": FORWARD_SECRET, **options}
    return Meeting(client(credential, **options), end).came_to("ok", "ok").ticket()


def rebound(ticket: Ticket, **changes: Callable[[Any], Any]) -> Changes:
    """Changes a hello with a ticket as somebody can who holds its secret."""
    def change(data: bytes) -> bytes:
        changed = message(ClientHello, **changes)(data)
        return changed[:-BINDER] + binder(ticket.secret, seed(b"", ("", b"")), changed)

    return {CLIENT_HELLO: change}
