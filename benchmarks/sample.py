"""Draws the scored captions of t2i_coco with weights of CrossFlow's authors, for `evaluate`.

python -m benchmarks.sample checkpoint=t2i_256px_clip_dimr.pth weights.text_encoder=CLIP
    weights.autoencoder=VAE task.root=COCO predictions=DIR

Defaults are those of the released configurations. Killed, the same command continues. Weights,
what differs from the authors' code, and how pictures are scored: docs/official_weights.md.
"""

from contextlib import closing

from benchmarks.config import command
from benchmarks.config.output import say
from benchmarks.config.schema import Config

OFFICIAL = {"task": "t2i_coco", "sampling.steps": "50", "sampling.guidance": "7"}
OFFICIAL |= {"sampling.solver": "euler_official"}


def job(config: Config) -> int:
    """One folder of pictures."""
    from benchmarks.match.drawing import draw
    from benchmarks.match.progress import Progress

    with closing(Progress()) as progress:
        count = draw(config, progress)
    following = f"benchmarks.evaluate task=t2i_coco predictions={config.predictions}"
    say([f"{count} pictures: {config.predictions}"])
    say([f"next: python -m {following}, and the task.* of this"])
    return 0


def main(arguments: list[str] | None = None) -> int:
    """All jobs. Returns the exit status."""
    return command.run(job, arguments, command="sample", defaults=OFFICIAL)


if __name__ == "__main__":
    raise SystemExit(main())
