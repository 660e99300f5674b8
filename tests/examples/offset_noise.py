"""Flow matching from noise whose channels are also shifted as a whole (offset noise)."""

from baselines.flow_matching import FlowMatching, applies

__all__ = ["NAME", "applies", "method"]
NAME = "offset_noise"


class method(FlowMatching):  # noqa: N801
    """x0 = noise + 0.1 noise of its channel."""

    def from_noise(self, source, draws):
        ends = super().from_noise(source, draws)
        ends.x0 += 0.1 * draws.normal("offset", (ends.x0.shape[1], 1, 1)).to(ends.x0.device)
        return ends
