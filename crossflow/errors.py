"""What can go wrong: a user's mistake stops the job, an arm's own failure stops that arm alone."""

from __future__ import annotations

import difflib
import json
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class InputError(ValueError):
    """A mistake found before the first step: wrong option, missing file, bad data.

    One line that names the file, field or value; commands print it and exit with status 2.
    """


def closest(wrong: str, known: Iterable[str]) -> str:
    """`Did you mean X? ` with the closest name and those that have `wrong` as a part, or ``."""
    names = list(known)
    parts = [name for name in names if wrong in re.split(r"[._]", name)]
    close = dict.fromkeys([*difflib.get_close_matches(wrong, names, n=1), *parts])
    return f"Did you mean {' or '.join(close)}? " if close else ""


def right_names(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the closest right one, and all there are."""
    names = list(known)
    return f"{closest(wrong, names)}There are: {', '.join(names) or 'none'}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two settings, one of them read from JSON; empty where nothing does."""
    now = json.loads(json.dumps(now))
    keys = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    return "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in keys)


class ArmError(RuntimeError):
    """An arm cannot go on, the others can; the message names the arm and the reason."""


class AloneError(RuntimeError):
    """A process cannot go on and others can, which would wait for it: all must end."""


@contextmanager
def guard(arm: str, file: str | None = None) -> Iterator[None]:
    """What goes wrong in a method's own code becomes an ArmError; the user's mistakes pass.

    It names the line of `file`, the method's own, or the last one that is of no installed package.
    """
    try:
        yield
    except (InputError, ArmError, AloneError):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename == file]
        ours = ours or [frame for frame in frames if "site-packages" not in frame.filename]
        last = (ours or frames)[-1]
        where = f"{last.filename}, line {last.lineno}"
        raise ArmError(f"{arm}: {type(error).__name__}: {error} ({where})") from error
