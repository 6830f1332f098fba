"""The countersign command as run.py drives it, and the Python server that it logs in to."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from countersign import (CONFIRM, DATA, KEY_UPDATE, PASSWORD, TAG, Client, Credential, Direction, Refused, Server,
                         frame, u8, u16)
from report import expect
from meeting import flip
from sockets import Channel, Ended, login, serve

PATIENCE = 20.0  # seconds for any one thing to happen
USER, SECRET, PERMISSIONS = "alice", b"correct horse battery staple", ["read", "write"]
GOOD = Credential(PASSWORD, USER, SECRET)
NAME = "db.example"  # what `countersign serve` goes by


class Command:
    """The countersign command, in a folder of its own."""

    def __init__(self, path: str, folder: Path):
        self.path, self.folder = path, folder

    def has(self, subcommand: str, option: str) -> bool:
        return option in self.run(subcommand, "--help").stdout.decode()

    def can(self, *words: str) -> bool:
        """Whether it has this subcommand of a subcommand."""
        done = subprocess.run([self.path, *words, "--help"], capture_output=True, timeout=PATIENCE)
        return done.returncode == 0

    def names(self) -> tuple[str, ...]:
        """The options by which `serve` goes by NAME."""
        found = [option for option in ("--server-name", "--name") if self.has("serve", option)]
        return (found[0], NAME) if found else ()

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

    def __init__(self, command: Command, key: str, timeout: str = "60s", *options: str, users: str = "users.txt"):
        # The default timeout is longer than any case waits, so none passes because the server gave up waiting.
        self.lines: list[str] = []
        self.ended, self.name = False, NAME if command.names() else ""
        self.grown = threading.Condition()
        self.process = subprocess.Popen(
            [command.path, "serve", "--listen", "127.0.0.1:0", "--key", key, "--users", users,
             # Hundreds of logins that are to fail come from one address.
             "--no-penalties", "--handshake-timeout", timeout, *command.names(), *options], cwd=command.folder, env=command.environment(),
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

    def client(self, credential: Any, pins: Any = (), known: Any = (), *, base: Any = Client, **options: Any) -> Client:
        """One that names this server."""
        client: Client = base(credential, pins, known, **{"server_name": self.name, **options})
        return client

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
    """The Python server for whoever comes, one after the other, on a thread; `make` gives the end of each. `outcome` is
    what came of them: `accepted`, the number of the rule by which it was refused, `ended` if the client went away,
    `resumed` if a ticket was taken and its owner was there."""

    def __init__(self, make: Callable[[], Server], talk: Optional[Callable[[Channel], None]] = None, port: int = 0):
        self.make, self.talk, self.port = make, talk or converse, port
        self.outcomes, self.session_id = list[str](), ""

    @property
    def outcome(self) -> str:
        return " ".join(self.outcomes) or "nobody came"

    def __enter__(self) -> PeerServer:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.attend, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # which ends a waiting accept()
        self.thread.join(0 if kind else PATIENCE)
        self.listener.close()

    def attend(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(PATIENCE)
                self.outcomes.append("it never came to an end")
                self.outcomes[-1] = self.meet(sock)

    def meet(self, sock: socket.socket) -> str:
        try:
            channel = serve(sock, self.make())
            self.session_id = channel.session.session_id.hex()
            channel.stream.deadline = time.monotonic() + PATIENCE
            self.talk(channel)
        except Refused as why:
            return why.rule
        except Ended:
            return "ended"
        except Exception as why:
            return f"{type(why).__name__}: {why}"
        return "resumed" if channel.session.resumed else "accepted"


def converse(channel: Channel) -> None:
    for line in channel.lines():
        if line == b"quit":
            channel.send(b"bye\n")
            break
        channel.send(answer(line) + b"\n")
    channel.finish()


def answer(line: bytes, permissions: Sequence[str] = PERMISSIONS) -> bytes:
    if line == b"whoami":
        return b"%s permissions=%s" % (USER.encode(), ",".join(permissions).encode())
    return line.removeprefix(b"echo ")


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


def unused_update(direction: Direction) -> bytes:
    """The KeyUpdate that seal() would not make: it is the first frame under its key, but sealed as it should be."""
    header = u8(KEY_UPDATE) + u16(TAG)
    return header + direction.cipher.encrypt(direction.nonce(), b"", header)


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
    channel.stream.write(flip(3)(channel.session.outgoing.seal(DATA, b"mallory\n")))
    expect("after a refused record", rest(channel.stream.sock), b"")


def confirming(channel: Channel) -> None:
    next(channel.lines())
    channel.stream.write(frame(CONFIRM, bytes(TAG)))
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
