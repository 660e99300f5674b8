"""AdamW with the paper's values, and weight decay only where it makes sense."""

from __future__ import annotations

import torch
from torch import nn

DECAYED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.MultiheadAttention)


def decayed_parameters(module: nn.Module) -> set[int]:
    """Ids of the parameters that are decayed: matrices that multiply activations.

    Everything else (norms, biases, embeddings, position codes, learned queries, temperatures) has
    a scale that means something: pulling it to zero is not a regulariser.
    """
    return {
        id(parameter)
        for part in module.modules()
        if isinstance(part, DECAYED)
        for parameter in part.parameters(recurse=False)
        if parameter.ndim >= 2
    }


def adamw(
    module: nn.Module,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.9),
    weight_decay: float = 0.03,
) -> torch.optim.AdamW:
    """AdamW over all trainable parameters of an arm.

    Defaults are the paper's (section 5.1): both betas 0.9, weight decay 0.03. Fused: one kernel
    for all parameters, on CPU too.
    """
    decayed = decayed_parameters(module)
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in decayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
