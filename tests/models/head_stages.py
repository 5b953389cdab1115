"""The softmaxes of each head, and draws from enumerated distributions through them."""

import pytest

BINS = (3, 4, 5, 2)
HEADS = pytest.mark.parametrize("head", ["joint", "fields", "tied"])
STAGES = {"joint": (12, 10), "fields": BINS, "tied": (12, 5, 2)}


def draw_by_stages(p, stages, uniform):
    """The token that inverse cumulative distributions give, stage by stage."""
    token = 0
    for stage, u in zip(stages, uniform.tolist(), strict=False):
        p = p.view(stage, -1)
        cdf = p.sum(-1).cumsum(0)
        index = int((cdf <= u * cdf[-1]).sum())
        token, p = token * stage + index, p[index]
    return token
