"""The exchange on a real card gives what it gives on the CPU, in a CUDA graph too."""

import numpy as np
import pytest
import torch
from market_books import random_stream

from mars_lmm.market.book import empty_books
from mars_lmm.market.exchange import Exchange


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_steps_in_a_graph_give_what_the_cpu_gives():
    orders = np.stack([random_stream(seed, 200, 100, 450) for seed in range(64)])
    host = Exchange(empty_books(64, 100, 100, 450), on_reject="count")
    card = host.to("cuda")
    steps = torch.from_numpy(orders).to("cuda").swapaxes(0, 1).contiguous()
    current = steps[0].clone()
    card.copy().step(current)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        card.step(current)
    for i, row in enumerate(steps):
        current.copy_(row)
        graph.replay()
        np.testing.assert_array_equal(card.reports.cpu(), host.step(orders[:, i]))
        np.testing.assert_array_equal(card.snapshots.cpu(), host.snapshots)
    np.testing.assert_array_equal(card.books.cpu(), host.books)
