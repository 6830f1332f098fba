#!/usr/bin/env python3
"""Makes hashes.txt: stored passwords as other programs write them, each with the program and the password.

On Debian, with Python 3.11 (later ones have no crypt module):

    apt-get install apache2-utils openssl whois
    python3 -m venv venv && venv/bin/pip install argon2-cffi==25.1.0 bcrypt==4.0.1 Django==5.2.19 passlib==1.7.4
    venv/bin/python tests/password_formats/make.py > tests/password_formats/hashes.txt

Salts are random: a new run gives other hashes.
"""

import crypt
import hashlib
import subprocess
import warnings

import bcrypt
import django
from argon2 import low_level
from django.conf import settings
from passlib import hash as passlib

warnings.simplefilter("ignore")
settings.configure(PASSWORD_HASHERS=[
    "django.contrib.auth.hashers." + name + "PasswordHasher"
    for name in ["PBKDF2", "PBKDF2SHA1", "Argon2", "BCrypt", "BCryptSHA256", "Scrypt"]
])
django.setup()
from django.contrib.auth import hashers  # noqa: E402

HORSE = "correct horse"
LATIN = "pässwörd"
LONG = "0123456789" * 8
# As much as openssl takes at its command line.
VERY_LONG = "0123456789" * 25


def row(program, password, hash):
    print(program, password, hash, sep="\t")


def run(command, password):
    words = [password if word == "PASSWORD" else word for word in command.split()]
    row(command, password, subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip().split(":")[-1])


def argon2(password, kind, version=19, **more):
    settings = dict(time_cost=1, memory_cost=1024, parallelism=2, hash_len=32, type=kind, version=version) | more
    return low_level.hash_secret(password.encode(), b"saltsaltsaltsalt", **settings).decode()


print("# program, password, hash: made by make.py")
for password in [HORSE, LATIN]:
    for kind in low_level.Type:
        row(f"argon2-cffi {kind.name}", password, argon2(password, kind))
# Before versions were written, it was 1.0.
row("argon2-cffi, version 16", HORSE, argon2(HORSE, low_level.Type.ID, version=16))
row("argon2-cffi, version 16, without v=", HORSE, argon2(HORSE, low_level.Type.I, version=16).replace("$v=16", ""))
for password in [HORSE, LATIN, LONG]:
    run("htpasswd -n -b -B -C 5 alice PASSWORD", password)
    for prefix in [b"2a", b"2b"]:
        row(f"python bcrypt {prefix.decode()}", password,
            bcrypt.hashpw(password.encode(), bcrypt.gensalt(5, prefix)).decode())
    row("php 8 and crypt: $2y$", password, crypt.crypt(password, "$2y$05$" + "abcdefghijklmnopqrstuu"))
for password in [HORSE, LATIN, LONG, VERY_LONG]:
    run("openssl passwd -5 PASSWORD", password)
    run("openssl passwd -6 PASSWORD", password)
    row("crypt SHA-256, rounds", password, crypt.crypt(password, crypt.mksalt(crypt.METHOD_SHA256, rounds=1234)))
    row("crypt SHA-512, rounds", password, crypt.crypt(password, crypt.mksalt(crypt.METHOD_SHA512, rounds=1234)))
    row("passlib sha512_crypt", password, passlib.sha512_crypt.using(rounds=2000).hash(password))
    row("passlib sha256_crypt, a short salt", password, passlib.sha256_crypt.using(rounds=5000, salt="ab").hash(password))
    row("passlib pbkdf2_sha1", password, passlib.pbkdf2_sha1.using(rounds=1000).hash(password))
    row("passlib pbkdf2_sha256", password, passlib.pbkdf2_sha256.using(rounds=2000).hash(password))
    row("passlib pbkdf2_sha512", password, passlib.pbkdf2_sha512.using(rounds=2000).hash(password))
    row("passlib scrypt", password, passlib.scrypt.using(rounds=11).hash(password))
    run("mkpasswd -m yescrypt -R 1 PASSWORD", password)
    if password == HORSE:
        run("mkpasswd -m yescrypt PASSWORD", password)
    run("mkpasswd -m scrypt -R 6 PASSWORD", password)
    for hasher in ["pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "scrypt"]:
        algorithm = hashers.get_hasher(hasher)
        if hasher.startswith("pbkdf2"):
            hash = algorithm.encode(password, algorithm.salt(), 2000)
        else:
            algorithm.rounds, algorithm.memory_cost, algorithm.time_cost, algorithm.work_factor = 5, 1024, 1, 2048
            hash = algorithm.encode(password, algorithm.salt())
        row("django " + hasher, password, hash)
algorithm = hashers.get_hasher("bcrypt")
algorithm.rounds = 5
row("django bcrypt", HORSE, algorithm.encode(HORSE, algorithm.salt()))
# The form that password-hash strings have everywhere else, from what the standard library computes.
digest = hashlib.pbkdf2_hmac("sha256", HORSE.encode(), b"saltsaltsaltsalt", 2000)
b64 = lambda bytes: __import__("base64").b64encode(bytes).decode().rstrip("=")  # noqa: E731
row("PHC pbkdf2-sha256", HORSE, f"$pbkdf2-sha256$i=2000,l=32${b64(b'saltsaltsaltsalt')}${b64(digest)}")
