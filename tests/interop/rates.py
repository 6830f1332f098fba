#!/usr/bin/env python3
"""How many logins a second `countersign serve` takes from clients that share no code with it, and what each costs the server: by password, by password
that the clients stretch, and by token.

    cargo build --release -p countersign-cli
    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    venv/bin/python tests/interop/rates.py --countersign target/release/countersign

The clients are processes of Python on the same machine, and take more of it than the server does. So beside the logins a second that came to pass stands
what all cores would do for the server alone, by the CPU time that it took for each (Linux tells it), and beside that what `countersign bench` says of the
same login: by the same measure for passwords, and for the others by the work in one process, without sockets, sessions and a log.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # no __pycache__ among the tests

import argparse
import base64
import functools
import json
import multiprocessing
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

from command import NAME, PATIENCE, SECRET, Command, RustServer
from countersign import PASSWORD, TOKEN, Client, Credential, Stretching
from sockets import login

SUITE, SUITE_NAME = 0x0301, "rsa+x25519mlkem768/aes-256-gcm"
REALM = ("--stretch-realm", NAME)
KINDS: dict[str, tuple[str, ...]] = {"password": (), "stretched": ("--stretch", *REALM), "token": ()}


def client(address: tuple[str, int], pin: bytes, credential: Credential, seconds: float, ready: Any, counts: Any) -> None:
    """Logs in until the time is over, and says how often. A password is stretched once, as a client would that keeps the result."""
    Stretching.stretch = functools.cache(Stretching.stretch)  # type: ignore[method-assign]

    def once() -> None:
        with socket.create_connection(address, PATIENCE) as sock:
            login(sock, Client(credential, [pin], suites=[SUITE], server_name=NAME)).finish()

    once()
    ready.wait()
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        once()
        count += 1
    counts.put(count)


def cpu(process: int) -> float:
    """The seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command: Command, kind: str, clients: int, seconds: float) -> tuple[float, float]:
    """Logins a second, and seconds of the server's CPU time for each."""
    users, credentials = f"{kind}.txt", []
    for name in (f"user{number}" for number in range(clients)):
        how = ("--no-password",) if kind == "token" else ("--password-stdin", *(REALM if kind == "stretched" else ()))
        command.run("user", "add", name, "--users", users, *how, stdin=SECRET + b"\n")
        if kind == "token":
            credentials.append(Credential(TOKEN, "", command.run("user", "token", name, "--users", users).stdout.strip()))
        else:
            credentials.append(Credential(PASSWORD, name, SECRET))
    processes = multiprocessing.get_context("spawn")
    ready, counts = processes.Barrier(clients + 1), processes.Queue()
    with RustServer(command, "server.pem", "60s", *KINDS[kind], users=users) as server:
        pin = pin_of(server.pin)
        running = [processes.Process(target=client, args=(server.address, pin, one, seconds, ready, counts)) for one in credentials]
        for one in running:
            one.start()
        ready.wait(PATIENCE * 3)
        begun, before = time.monotonic(), cpu(server.process.pid)
        done = sum(counts.get(timeout=seconds + PATIENCE) for _ in running)
        took, spent = time.monotonic() - begun, cpu(server.process.pid) - before
        for one in running:
            one.join(PATIENCE)
    return done / took, spent / done


def pin_of(fingerprint: str) -> bytes:
    return base64.b64decode(fingerprint.removeprefix("SHA256:") + "=")


def claims(command: Command, bits: int) -> dict[str, float]:
    """What `bench` says that a login costs the server, in seconds."""
    words = ["bench", "--bits", str(bits), "--suite", SUITE_NAME, "--duration", "2s", "--json", "-"]
    done = subprocess.run([command.path, *words], cwd=command.folder, capture_output=True, check=True)
    said = json.loads(done.stdout)
    relief, load = said["relief"], said["load"]["mixes"][0]["server_cpu_ms"]
    # Without a hash, a token costs what a stretched password does.
    return {kind: ms / 1000 for kind, ms in (("password", load), ("stretched", relief["stretched_server_ms"]),
                                             ("token", relief["stretched_server_ms"])) if ms}


def main() -> None:
    parser = argparse.ArgumentParser(description="Logins a second of `countersign serve`, by clients in Python.")
    parser.add_argument("--countersign", required=True, metavar="PATH", help="the command, built with --release")
    parser.add_argument("--bits", type=int, default=3072, help="the size of the server's key")
    parser.add_argument("--clients", type=int, default=os.cpu_count() or 1, help="processes that log in without a pause")
    parser.add_argument("--seconds", type=float, default=10.0, help="for how long, by each kind of credential")
    parser.add_argument("--no-bench", action="store_true", help="leave out what `countersign bench` says, which takes a minute")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="countersign-") as folder:
        command = Command(str(Path(options.countersign).resolve()), Path(folder))
        command.run("keygen", "--out", "server.pem", "--bits", str(options.bits))
        said: dict[str, Optional[float]] = {} if options.no_bench else dict(claims(command, options.bits))
        print(f"RSA-{options.bits}, {SUITE_NAME}, {cores} cores, {options.clients} clients in Python, {options.seconds:g} s each")
        print(f"{'':<10}{'logins/s':>10}{'server CPU':>14}{'by all cores':>16}{'bench: server':>16}")
        for kind in KINDS:
            rate, cost = measure(command, kind, options.clients, options.seconds)
            claim = said.get(kind)
            claimed = f"{claim * 1000:.2f} ms{'' if kind == 'password' else ' *'}" if claim else "-"
            print(f"{kind:<10}{rate:>10.0f}{cost * 1000:>11.2f} ms{cores / cost:>12.0f} /s{claimed:>16}", flush=True)
        if said:
            print("* the work in one process, without sockets, sessions and a log: not for comparing with what the kernel counts")


if __name__ == "__main__":
    main()
