"""The two caption programs in Java that pycocoevalcap ships: PTB tokeniser and METEOR.

Java is started with an explicit path and flags, and the environment stays as it is. The library's
tokeniser reads one caption a line and trusts the line count: a caption with another line break
would move every later caption to the wrong image. Captions are cleaned of such characters first and
the count is checked.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOKENISER = "edu.stanford.nlp.process.PTBTokenizer"
TOKENISER_SECONDS = 600.0  # a guard against a hang, far above what a busy machine needs
METEOR_SECONDS = 600.0  # to start and load the paraphrase table: 7 s on an idle machine
METEOR_SECONDS_PER_ITEM = 0.1
# Control characters, line and paragraph separators, lone surrogates: none belongs in a caption, and
# \r \x0b \x0c \x1c-\x1e \x85 \u2028 \u2029 or a surrogate breaks the tokeniser's line protocol.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")
# With a locale whose decimal sign is a comma METEOR dies on its own numbers. Flags on the command
# line win over JAVA_TOOL_OPTIONS.
LOCALE = ("-Duser.language=en", "-Duser.country=US")


class MetricUnavailableError(RuntimeError):
    """A scorer that cannot run here; the message is the reason that stands in the record."""


def clean_caption(caption: str) -> str:
    """The caption with every control character, line separator and lone surrogate made a space."""
    if caption.isascii() and caption.isprintable():
        return caption
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


class StartedMeteor:
    """A METEOR 1.5 process that loads its paraphrase table while others work.

    pycocoevalcap sends it a caption, waits for the statistics and sends the next one; where the
    machine is busy that costs two waits for a processor a caption. Here all captions are sent
    while the answers are read: the lines, and so the numbers, are the same.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: Any, limit: float) -> None:
        self._process, self._errors, self._limit = process, errors, limit
        self._expired = threading.Event()

    def expire(self) -> None:
        """Ends a process that took too long: whoever waits for its answers goes on."""
        self._expired.set()
        self._process.kill()

    def scores(
        self, truth: Sequence[Sequence[str]], result: Sequence[str]
    ) -> tuple[float, list[float]]:
        """Corpus score and one score an item of tokenised captions; once for each process.

        Raises MetricUnavailableError with the reason.
        """
        # "|||" separates METEOR's fields; the library removes it from hypotheses only. The rest of
        # the line is the library's (meteor.py:56-62).
        lines = []
        for references, caption in zip(truth, result, strict=True):
            fields = ["SCORE", *(s.replace("|||", "") for s in references)]
            lines.append(" ||| ".join([*fields, caption.replace("|||", "").replace("  ", " ")]))
        try:
            statistics = self._ask(lines, len(lines))
            values = [
                float(v) for v in self._ask([" ||| ".join(["EVAL", *statistics])], len(lines) + 1)
            ]
        except ValueError as error:
            raise self._failure(error) from error
        return values[-1], values[:-1]

    def _ask(self, lines: Sequence[str], answers: int) -> list[str]:
        """Sends lines while so many answers are read. ValueError where one of them is missing."""
        send, answer = self._process.stdin, self._process.stdout
        assert send is not None
        assert answer is not None

        def write() -> None:
            # a process that died reads no more: the missing answer tells it
            with contextlib.suppress(BrokenPipeError):
                for line in lines:
                    send.write(f"{line}\n".encode())
                send.flush()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            found = [answer.readline().decode().strip() for _ in range(answers)]
        finally:
            writer.join()
        if not all(found):
            raise ValueError(f"{found.count('')} of {answers} answers are missing")
        return found

    def _failure(self, error: ValueError) -> MetricUnavailableError:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        late = f"no answer in {self._limit:.0f} s"
        reason = late if self._expired.is_set() else (said[-1] if said else error)
        return MetricUnavailableError(f"METEOR failed: {reason}")


@contextmanager
def started_meteor(java: str, items: int) -> Iterator[StartedMeteor]:
    """METEOR for so many items, started now and ended with the block, by a timer if it hangs.

    Raises MetricUnavailableError where the program does not start at all.
    """
    from pycocoevalcap.meteor import meteor

    flags = ["-stdio", "-l", "en", "-norm"]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [java, *LOCALE, "-Xmx2G", "-jar", meteor.METEOR_JAR, "-", "-", *flags],
                cwd=Path(meteor.__file__).parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except OSError as error:
            print(f"METEOR failed: {error}", file=sys.stderr)
            raise MetricUnavailableError(f"METEOR failed: {type(error).__name__}") from error
        limit = METEOR_SECONDS + METEOR_SECONDS_PER_ITEM * items
        started = StartedMeteor(process, errors, limit)
        timer = threading.Timer(limit, started.expire)
        timer.start()
        try:
            yield started
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                # a line that the dead process never read cannot be flushed; its failure is known
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
