"""The one exception a user's mistake raises."""

import difflib
import re
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake found before the first step: wrong option, missing file, bad data.

    The message is one line that names the file, field or value and says what to do. The commands
    print it without a traceback and exit with status 2.
    """


def closest(wrong: str, known: Iterable[str]) -> str:
    """`Did you mean X? ` with the names that have `wrong` as a part, or the closest one, or ``."""
    names = list(known)
    close = [name for name in names if wrong in re.split(r"[._]", name)]
    close = close or difflib.get_close_matches(wrong, names, n=1)
    return f"Did you mean {' or '.join(close)}? " if close else ""


def right_names(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the closest right one, and all there are."""
    names = list(known)
    return f"{closest(wrong, names)}There are: {', '.join(names) or 'none'}"
