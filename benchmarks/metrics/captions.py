"""Caption scores by pycocoevalcap: BLEU, METEOR, ROUGE-L, CIDEr.

The library's own entry point builds SPICE before anything is scored, and SPICE downloads; so the
scorers are listed here. Its tokeniser reads one caption a line and trusts the line count: a caption
with another line break would move every later caption to the wrong image. Captions are cleaned of
such characters first and the count is checked. Java is started with an explicit path and flags, and
the environment stays as it is.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.metrics.java import find_java
from benchmarks.metrics.score import Score, Scored, mean_score
from crossflow.errors import InputError

if TYPE_CHECKING:
    from pycocoevalcap.meteor.meteor import Meteor

Key = TypeVar("Key", bound=Hashable)

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
NAMES = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
SPICE_REASON = "SPICE needs Stanford CoreNLP 3.6, which pycocoevalcap downloads when it starts"
TOKENISER = "edu.stanford.nlp.process.PTBTokenizer"
TOKENISER_SECONDS = 600.0  # a guard against a hang, far above what a busy machine needs
METEOR_SECONDS = 600.0  # to start and load the paraphrase table: 7 s on an idle machine
METEOR_SECONDS_PER_ITEM = 0.1
# Control characters, line and paragraph separators, lone surrogates: none belongs in a caption, and
# \r \x0b \x0c \x1c-\x1e \x85 \u2028 \u2029 or a surrogate breaks the tokeniser's line protocol.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")
# With a locale whose decimal sign is a comma METEOR dies on its own numbers. Flags on the command
# line win over JAVA_TOOL_OPTIONS.
_LOCALE = ("-Duser.language=en", "-Duser.country=US")


class MetricUnavailableError(RuntimeError):
    """A scorer that cannot run here; the message is the reason that stands in the record."""


def clean_caption(caption: str) -> str:
    """The caption with every control character, line separator and lone surrogate made a space."""
    return "".join(" " if unicodedata.category(c) in _NOT_TEXT else c for c in caption)


def tokenise(captions: Sequence[str], java: str) -> list[str]:
    """PTB tokens of each caption, lower case, without punctuation, joined by spaces.

    The command, the jar and the list of dropped punctuation are pycocoevalcap's (ptbtokenizer.py
    21-66), where "(" survives as `-lrb-` and "$", "%", "&" stay. Raises
    MetricUnavailableError when Java fails or the number of lines is not that of the captions.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).parent / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    text = "".join(clean_caption(caption) + "\n" for caption in captions)
    try:
        run = subprocess.run(
            [java, "-cp", str(jar), TOKENISER, "-preserveLines", "-lowerCase"],
            input=text.encode(),
            capture_output=True,
            timeout=TOKENISER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        # The whole message names paths of this machine, and the reason stands in the record.
        print(f"the PTB tokeniser failed: {error}", file=sys.stderr)
        status = getattr(error, "returncode", None)
        reason = type(error).__name__ if status is None else f"Java exits with status {status}"
        raise MetricUnavailableError(f"the PTB tokeniser failed: {reason}") from error
    lines = run.stdout.decode().split("\n")[:-1]
    if len(lines) != len(captions):
        raise MetricUnavailableError(
            f"the PTB tokeniser returned {len(lines)} lines for {len(captions)} captions"
        )
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(w for w in line.rstrip().split(" ") if w not in dropped) for line in lines]


def caption_scores(
    predictions: Mapping[Key, str],
    references: Mapping[Key, Sequence[str]],
    *,
    tokenised: bool = False,
) -> Scored:
    """`bleu1`-`bleu4`, `meteor`, `rouge_l`, `cider` of one caption an item; `spice` unavailable.

    Both mappings have the same keys; all references of an item are used. `tokenised` takes captions
    that went through the PTB tokeniser already (published reference files) as they are. CIDEr's
    document frequencies come from these references, so a score holds for this set of items alone.
    BLEU and METEOR are corpus scores and have no stderr; their item columns are per-item scores.
    Raises InputError for an empty set, missing or unknown keys or an item without reference.
    """
    keys = _checked_keys(predictions, references)
    java, found = find_java()
    if java is None and not tokenised:
        reasons = dict.fromkeys(NAMES, found)
        return Scored({}, unavailable={**reasons, "spice": SPICE_REASON})
    hypotheses = [predictions[key] for key in keys]
    sentences = [sentence for key in keys for sentence in references[key]]
    try:
        if java is None or tokenised:
            tokens = [clean_caption(s) for s in (*hypotheses, *sentences)]
        else:
            tokens = tokenise([*hypotheses, *sentences], java)
    except MetricUnavailableError as error:
        reasons = dict.fromkeys(NAMES, str(error))
        return Scored({}, unavailable={**reasons, "spice": SPICE_REASON})
    # the scorers take {number: [sentence, ...]} and keep the order of the keys
    result = {i: [tokens[i]] for i in range(len(keys))}
    rest = iter(tokens[len(keys) :])
    truth = {i: [next(rest) for _ in references[key]] for i, key in enumerate(keys)}
    scored = _python_scores(truth, result)
    scored.items = {"id": [str(key) for key in keys], **scored.items}
    scored.unavailable["spice"] = SPICE_REASON
    try:
        if java is None:
            raise MetricUnavailableError(found)
        total, each = meteor_scores(truth, result, java)
    except MetricUnavailableError as error:
        scored.unavailable["meteor"] = str(error)
    else:
        scored.scores["meteor"] = Score(total, None, len(keys), "higher")
        scored.items["meteor"] = each
    return scored


def _checked_keys(
    predictions: Mapping[Key, str], references: Mapping[Key, Sequence[str]]
) -> list[Key]:
    if not predictions:
        raise InputError("no captions to score: the list of predictions is empty")
    missing = [key for key in references if key not in predictions]
    unknown = [key for key in predictions if key not in references]
    for what, keys in (("have no prediction", missing), ("are predicted but unknown", unknown)):
        if keys:
            first = ", ".join(map(str, keys[:5]))
            raise InputError(f"{len(keys)} items {what}, the first of them {first}")
    bare = [key for key, sentences in references.items() if not sentences]
    if bare:
        raise InputError(f"{len(bare)} items have no reference caption, the first is {bare[0]}")
    return list(references)


def _python_scores(truth: dict[int, list[str]], result: dict[int, list[str]]) -> Scored:
    """BLEU, ROUGE-L and CIDEr, which need no Java once the captions are tokenised."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    n = len(truth)
    scored = Scored({})
    totals, items = Bleu(4).compute_score(truth, result, verbose=0)
    for order, (total, each) in enumerate(zip(totals, items, strict=True), start=1):
        scored.scores[f"bleu{order}"] = Score(float(total), None, n, "higher")
        scored.items[f"bleu{order}"] = [float(v) for v in each]
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        _, each = scorer.compute_score(truth, result)
        scored.items[name] = [float(v) for v in each]
        scored.scores[name] = mean_score(scored.items[name], "higher")
    return scored


def meteor_scores(
    truth: dict[int, list[str]], result: dict[int, list[str]], java: str
) -> tuple[float, list[float]]:
    """METEOR 1.5 of tokenised captions: the corpus score and one score an item.

    pycocoevalcap talks to one Java process line by line and would wait for ever for a line that
    does not come; a timer ends the process instead. Raises MetricUnavailableError with the reason.
    """
    # "|||" separates the fields of METEOR's protocol; the library removes it from hypotheses only
    safe = {i: [s.replace("|||", "") for s in sentences] for i, sentences in truth.items()}
    limit = METEOR_SECONDS + METEOR_SECONDS_PER_ITEM * len(truth)
    with tempfile.TemporaryFile() as errors:
        scorer = _meteor(java, errors.fileno())
        timer = threading.Timer(limit, scorer.meteor_p.kill)
        timer.start()
        try:
            total, each = scorer.compute_score(safe, result)
        except (ValueError, OSError) as error:
            expired = not timer.is_alive()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            reason = f"no answer in {limit:.0f} s" if expired else (said[-1] if said else error)
            raise MetricUnavailableError(f"METEOR failed: {reason}") from error
        finally:
            timer.cancel()
            scorer.close()
    return float(total), [float(v) for v in each]


def _meteor(java: str, errors: int) -> Meteor:
    """pycocoevalcap's METEOR with our Java: only the start and the end of its process differ."""
    from pycocoevalcap.meteor import meteor

    class ExplicitJavaMeteor(meteor.Meteor):
        meteor_p: subprocess.Popen[bytes]

        def __init__(self) -> None:
            flags = ["-stdio", "-l", "en", "-norm"]
            self.meteor_p = subprocess.Popen(
                [java, *_LOCALE, "-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", *flags],
                cwd=Path(meteor.__file__).parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            self.lock = threading.Lock()

        def close(self) -> None:
            """Ends the process, without the library's lock: a failed call leaves it taken."""
            self.meteor_p.kill()
            self.meteor_p.wait()
            for pipe in filter(None, (self.meteor_p.stdin, self.meteor_p.stdout)):
                # a line that the dead process never read cannot be flushed; its failure is known
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

        def __del__(self) -> None:
            """The library's own would wait for the lock; `close` has done the work."""

    return ExplicitJavaMeteor()
