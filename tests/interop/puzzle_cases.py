"""`countersign serve --puzzles` with more to do than it can, and the Python client: who solves what it is asked is let in."""

from __future__ import annotations

import re
import threading
import time

from cryptography.hazmat.primitives.asymmetric import rsa

from command import GOOD, PATIENCE, Command, RustServer
from countersign import Client, Refused, key_id, spki_of
from report import Report, expect
from sockets import Ended, login

CROWD = 8  # at once: a password hash takes some 20 ms, and one thread of each core computes


def puzzle_cases(report: Report, command: Command, name: str, key: rsa.RSAPrivateKey) -> None:
    if not command.has("serve", "--puzzles"):
        report.left_out("puzzles")
        return
    spki = spki_of(key.public_key())
    for about, known in (("with a proof", [spki]), ("without", [])):
        report.case(f"serve --puzzles, under load, {about}", lambda: under_load(command, name, key_id(spki), known))


def under_load(command: Command, name: str, pin: bytes, known: list[bytes]) -> None:
    solved, busy, failures = [0], [0], list[BaseException]()
    until, counting = time.monotonic() + PATIENCE, threading.Lock()

    def is_over() -> bool:
        return bool(failures) or time.monotonic() > until or (solved[0] >= 3 and busy[0] >= 3)

    def come(puzzles: int) -> None:
        """Logs in again and again: with or without solving what it is asked."""
        try:
            while not is_over():
                client = Client(GOOD, [pin], known, puzzles=puzzles, server_name=server.name)
                try:
                    with server.connect() as sock:
                        channel = login(sock, client)
                        channel.finish()
                    with counting:
                        solved[0] += puzzles > 0 and client.puzzles == 0
                except Refused as why:
                    # Whoever solves none is told that the server is busy, and so may be others under such a load, or "not now".
                    expect("refused by", why.rule in ("C14", "V6"), True)
                    with counting:
                        busy[0] += puzzles == 0 and why.rule == "C14"
                except (Ended, ConnectionError):
                    pass  # made way
        except BaseException as why:
            failures.append(why)

    with RustServer(command, f"{name}.pem", "60s", "--puzzles", "--hardest-puzzle", "6", "--max-wait", "200ms",
                    "--refusal-floor", "0s") as server:
        crowd = [threading.Thread(target=come, args=(0 if number % 4 == 0 else 17,)) for number in range(CROWD)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
    if failures:
        raise failures[0]
    stopped = next(line for line in server.lines if "event=stopped" in line)
    counts = {what: int(count) for what, count in re.findall(r"puzzles_(asked|solved)=(\d+)", stopped)}
    expect("enough have solved one and logged in, and been told busy", (solved[0] >= 3, busy[0] >= 3), (True, True))
    expect("the server's count", counts["solved"] >= solved[0] and counts["asked"] >= counts["solved"], True)
