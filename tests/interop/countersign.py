"""The countersign protocol, version 1: a client and a server, written from PROTOCOL.md alone.

A second implementation, to test the first one against and to read beside PROTOCOL.md. Nothing here does I/O: `Client`
and `Server` take whole frames and give whole frames, `Direction` seals and opens records; `sockets.py` moves the bytes.
A broken MUST raises `Refused` with the number of its rule (L6, C8, ...). This file only gathers the others:

    wire.py       frames and fields          keys.py, client_keys.py   keys of servers and of clients
    messages.py   what stands in a frame     exchanges.py              key exchanges, and what is drawn
    schedule.py   transcript, keys, records  trust.py, manifest.py     which server keys are trusted
    client.py     the client                 server.py, tickets.py     the server
    stretching.py passwords that the client stretches
    puzzles.py    what a server under load asks

Not for production: Python promises no constant time, so what a server must not tell by its timing (above all, that an
RSA ciphertext did not decrypt) is hidden by the fixed delay of refusals at best. Nor does Python wipe secrets.
"""

from client import *
from client_keys import *
from exchanges import *
from keys import *
from manifest import *
from messages import *
from puzzles import *
from schedule import *
from server import *
from stretching import *
from tickets import *
from trust import *
from wire import *
