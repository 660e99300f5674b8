"""From context to page: the template filled, style and script inline, allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def page(context: dict[str, Any]) -> str:
    """The whole page. All text is escaped; jinja2.UndefinedError for a name that context lacks."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["json"] = embedded
    style, scripts = _inline("page.css"), [_inline("page.js"), _inline("gallery.js")]
    return environment.get_template("template.html").render(
        **context, style=style, scripts=scripts, policy=policy(style, scripts)
    )


def policy(style: str, scripts: Sequence[str]) -> str:
    """A Content-Security-Policy that lets these run, and nothing be loaded from anywhere."""
    return (
        "default-src 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; script-src {' '.join(repr(_hash(one)) for one in scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def embedded(value: Any) -> Any:
    """JSON for a script element of type application/json: no text in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Within JSON these characters stand in strings only, where an escape means the same.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _inline(name: str) -> Any:
    from markupsafe import Markup

    return Markup((HERE / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
