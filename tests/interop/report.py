"""What the cases of selftest.py and run.py are reported and checked with."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from countersign import Refused


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r}, expected {wanted!r}")


def refused(rule: str, step: Callable[[], Any]) -> Refused:
    try:
        step()
    except Refused as why:
        expect("refused by", why.rule, rule)
        return why
    raise AssertionError(f"not refused by {rule}")


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

    def left_out(self, what: str) -> None:
        """A group of cases is left out, for want of what it is about. Where not everything may be, that fails."""
        print(f"the command knows no {what}: they are left out")
        may_be = os.environ.get("COUNTERSIGN_MAY_LEAVE_OUT")
        if may_be is not None:
            self.case(f"{what} are not left out", lambda: expect("may be left out", what in may_be.split(","), True))
