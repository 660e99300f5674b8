"""SPICE (Anderson et al. 2016) by pycocoevalcap's jar with CoreNLP jars that the user gives.

The library's own wrapper downloads Stanford CoreNLP 3.6.0 when it is built; that class is never
built here. Its jar is run as it does, with three differences: the CoreNLP jars come from the folder
`weights.spice`, the flags open the packages that the bundled serialiser reflects on (Java 16 and
later refuse it otherwise), and files lie in a folder of their own instead of in the package.

Not tested with the real CoreNLP jars, which are not at hand: the command, its input, its output
format and its failures are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.metrics.captions_java import LOCALE, MetricUnavailableError
from crossflow.errors import InputError
from crossflow.files import is_file

JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
PUBLISHED = "nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
REASON = (
    f"SPICE needs {JARS[0]} and {JARS[1]} ({PUBLISHED}); name their folder with weights.spice=DIR"
)
MAIN = "edu.anu.spice.SpiceScorer"
# protocols of the field run it with 8 GB: the dependency parser's models are large
HEAP = "-Xmx8G"
OPENED = (
    *(f"java.base/java.{name}" for name in ("lang", "math", "util", "util.concurrent", "net")),
    *("java.base/java.text", "java.sql/java.sql"),
)
SECONDS = 1800.0  # a guard against a hang: to load the models
SECONDS_PER_SENTENCE = 0.5  # the parser takes about a tenth of it on one core


def find_jars(folder: str) -> list[Path]:
    """The two CoreNLP jars of a folder. InputError that names what is missing; call it early."""
    jars = [Path(folder).expanduser().resolve() / name for name in JARS]
    missing = [jar.name for jar in jars if not is_file(jar)]
    if missing:
        raise InputError(
            f"weights.spice={folder}: no {' and no '.join(missing)} in it; they are in {PUBLISHED}"
        )
    if os.pathsep in str(jars[0]):
        raise InputError(
            f"weights.spice={folder}: Java separates jars by {os.pathsep!r}, which this path holds"
        )
    return jars


def jars_digest(folder: str | None) -> str | None:
    """The SHA-256 over both CoreNLP jars, None without a folder: an option of the score key."""
    if folder is None:
        return None
    whole = hashlib.sha256()
    for jar in find_jars(folder):
        with jar.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def spice_command(
    java: str, jars: Sequence[Path], source: Path, target: Path, cache: Path | None = None
) -> list[str]:
    """The command line that scores the captions in `source` (JSON) into `target`.

    cache: folder in which SPICE keeps parses of reference captions, None for none.
    """
    from pycocoevalcap.spice import spice

    own = Path(spice.__file__).parent / spice.SPICE_JAR
    # the manifest of SPICE's jar adds its other libraries, which lie beside it
    class_path = os.pathsep.join(map(str, (own, *jars)))
    opens = [f"--add-opens={package}=ALL-UNNAMED" for package in OPENED]
    command = [java, *LOCALE, *opens, HEAP, "-cp", class_path, MAIN, str(source)]
    command += [] if cache is None else ["-cache", str(cache)]
    return [*command, "-out", str(target), "-subset", "-silent"]


def spice_scores(
    truth: Sequence[Sequence[str]],
    result: Sequence[str],
    java: str,
    folder: str,
    cache: Path | None = None,
) -> list[float]:
    """F-score over scene-graph tuples of each tokenised caption, in item order; SPICE is the mean.

    Raises InputError when the folder lacks a jar, MetricUnavailableError when Java fails, takes too
    long or leaves an item without a number.
    """
    jars = find_jars(folder)
    rows = [
        {"image_id": i, "test": caption, "refs": list(references)}
        for i, (caption, references) in enumerate(zip(result, truth, strict=True))
    ]
    limit = SECONDS + SECONDS_PER_SENTENCE * sum(1 + len(references) for references in truth)
    if cache is not None:
        cache = cache.resolve()
        cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spice-") as scratch:
        source, target = Path(scratch) / "captions.json", Path(scratch) / "scores.json"
        source.write_text(json.dumps(rows), encoding="utf-8")
        command = spice_command(java, jars, source, target, cache)
        try:
            subprocess.run(command, capture_output=True, timeout=limit, check=True, cwd=scratch)
        except (OSError, subprocess.SubprocessError) as error:
            raise MetricUnavailableError(f"SPICE failed: {_reason(error, limit)}") from error
        return read_scores(target, len(rows))


def _reason(error: Exception, limit: float) -> str:
    """Why, without paths of this machine; all that Java said goes to stderr."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {limit:.0f} s"
    if not isinstance(error, subprocess.CalledProcessError):
        print(f"SPICE failed: {error}", file=sys.stderr)
        return type(error).__name__
    said = error.stderr.decode(errors="replace").strip()
    print(f"SPICE failed: {said}", file=sys.stderr)
    named = [line for line in said.splitlines() if "Exception" in line or "Error" in line]
    cause = named[0].rpartition("java.lang.")[2].split(" at ")[0] if named else "no message"
    return f"Java exits with status {error.returncode} ({cause.strip()[:120]})"


def read_scores(path: Path, items: int) -> list[float]:
    """`scores.All.f` of every item of SPICE's output file, by image_id 0 .. items - 1.

    MetricUnavailableError for a file that is none, or that lacks an item or its number: a mean over
    the rest would be the score of another set.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {int(row["image_id"]): row["scores"]["All"]["f"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricUnavailableError(
            f"SPICE failed: its output cannot be read ({type(error).__name__})"
        ) from error
    values = [found.get(i) for i in range(items)]
    numbers = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if len(numbers) != items or len(found) != items:
        raise MetricUnavailableError(
            f"SPICE failed: {len(numbers)} numbers in its output for {items} captions"
        )
    return numbers
