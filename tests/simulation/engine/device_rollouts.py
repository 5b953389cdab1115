"""The same rollouts on the CPU and as kernels, for a process under numba's CUDA simulator."""

import numpy as np
import torch

from mars_lmm.data.feeds.synthetic import SyntheticConfig, synthetic_session
from mars_lmm.data.replay import replay
from mars_lmm.market import types as t
from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.agents import Agent, Decision
from mars_lmm.simulation.agents.protocol import NEVER
from mars_lmm.simulation.agents.seats import SeatPlan
from mars_lmm.simulation.config import RolloutConfig
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine import rollout_engine as engine
from mars_lmm.simulation.engine.build import make_engine
from mars_lmm.simulation.engine.coding import OrderCoding
from mars_lmm.simulation.engine.targets import target
from mars_lmm.simulation.starts.start import Start
from mars_lmm.tokenizers.orders import OrderTokenizer

STEPS = 40


class Quoter(Agent):
    """Cancels what it has and quotes at the touch, every second or so."""

    def begin(self, view):
        return {"times": torch.zeros_like(view.time)}

    def act(self, view, state):
        quotes = [view.limit(t.BUY, view.bid, 3), view.limit(t.SELL, view.ask, 3)]
        wake = view.time + (view.draws[:, 0] * 2 * 10**9).long()
        return Decision(wake, [*view.cancel_all(), *quotes], {"times": state["times"] + 1})


class Taker(Agent):
    """Buys after some of the others' orders."""

    def act(self, view, state):
        return Decision(view.full(NEVER), [view.market(t.BUY, 2, where=view.draws[:, 0] < 0.2)], on_order=True)


class Canceller(Agent):
    """Takes from what rests, and trades, in nobody's name."""

    background = True

    def act(self, view, state):
        orders = [view.order(t.CANCEL_AT, t.BUY, view.bid, 5), view.order(t.IOC, t.BUY, view.ask, 1)]
        return Decision(view.time + 10**9, orders)


def make_rollouts(device="cpu", rollouts=2, **config):
    """Rollouts of a small model with three agents."""
    flow = synthetic_session(SyntheticConfig(minutes=5, seed=3), 0)
    replayed = replay(flow)
    tokenizer = OrderTokenizer.fit(replayed.observed, takers_rest=True)
    token, market = tokenizer.encode(replayed.observed[-64:])
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(width=16, layers=1, heads=2, window=32, head="fields")).eval().to(device)
    time, touch = int(replayed.tape[-1, 0]), replayed.tape[-1]
    start = Start(flow.session, time, replayed.state, token, market, touch)
    plans = [SeatPlan("quoter", Quoter(), (10**9, 100, 100), 10**8, 10**7), SeatPlan("taker", Taker())]
    plans.append(SeatPlan("canceller", Canceller()))
    numbers = np.zeros(rollouts, dtype=np.int64), np.arange(rollouts)
    return make_engine(RolloutConfig(seed=3, **config), model, OrderCoding(tokenizer), [start], *numbers, 10**6, plans)


def simulated(kind):
    """All arrays after some steps with the functions compiled for `cpu`, or as kernels for `cuda`."""
    original, engine.target = engine.target, lambda _, coding: target(kind, coding)
    made = make_rollouts()
    engine.target = original
    chunks = list(made.run(STEPS))
    assert all((chunk.rows[..., c.ROW_SOURCE] > 0).any() for chunk in chunks)
    batch = made.batch
    arrays = {}
    for group in (batch.market, batch.rollout, batch.agent, batch.record):
        arrays |= {f"{type(group).__name__}.{name}": value.numpy() for name, value in group._asdict().items()}
    return arrays | {"hidden": made.forecaster.reader.hidden.numpy(), "times": made.seats[0].state["times"].numpy()}


if __name__ == "__main__":
    expected, got = simulated("cpu"), simulated("cuda")
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    print(len(expected), int((expected["RecordArrays.fills"] != 0).any(axis=-1).sum()))
