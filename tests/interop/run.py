#!/usr/bin/env python3
"""Runs the countersign command against the peer in countersign.py, both ways round, and the peer against the vectors
and against itself.

    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    cargo build -p countersign-cli
    venv/bin/python tests/interop/run.py --countersign target/debug/countersign

One line for each case; the exit status is 1 if any failed. Nothing waits but on output, a connection or its end.
"""

from __future__ import annotations

import sys

sys.dont_write_bytecode = True  # no __pycache__ among the tests

import argparse
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import check
import selftest
from command import PATIENCE, PERMISSIONS, SECRET, USER, Command
from factor_cases import factor_cases
from key_cases import key_cases
from login_cases import server_cases
from puzzle_cases import puzzle_cases
from report import Report
from serve_cases import client_cases
from stretch_cases import selftest as stretch_selftest, stretch_cases
from trust_cases import trust_cases

ALL_PATIENCE = 600  # seconds for everything


class OutOfTime(BaseException):
    """Ends the run, not a case."""


def load(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def prepare(report: Report, command: Command) -> tuple[list[str], bytes]:
    """Makes the keys and the account; gives the keys' names and a token."""
    command.run("keygen", "--out", "keygen.pem", "--bits", "2048")
    names = ["keygen"]
    if openssl := shutil.which("openssl"):
        path = command.folder / "openssl.pem"
        subprocess.run([openssl, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
                       check=True, capture_output=True, timeout=PATIENCE * 3)
        path.chmod(0o600)
        subprocess.run([openssl, "pkey", "-in", path, "-pubout", "-out", command.folder / "openssl.pub.pem"],
                       check=True, capture_output=True, timeout=PATIENCE)
        names.append("openssl")
    else:
        report.left_out("keys of openssl")
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
    check.cases(report)
    selftest.cases(report)
    stretch_selftest(report)
    with tempfile.TemporaryDirectory(prefix="countersign-") as folder:
        command = Command(str(path), Path(folder))
        names, token = prepare(report, command)
        if not command.names():
            report.left_out("names of servers")
        for name in names:
            key = load(command.folder / f"{name}.pem")
            client_cases(report, command, name, key, token)
            server_cases(report, command, name, key, token)
        key = load(command.folder / "keygen.pem")
        key_cases(report, command, "keygen", key)
        factor_cases(report, command, "keygen", key)
        puzzle_cases(report, command, "keygen", key)
        stretch_cases(report, command, "keygen", key)
        trust_cases(report, command, "keygen", key)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
