"""The tokenizers' functions compile for GPUs, and numba's CUDA simulator gives what the CPU gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import ptx
from device_session import MARS, OURS, blank, make_session

from mars_lmm.compilation import kept_njit
from mars_lmm.data.market import load_rules
from mars_lmm.market import types as t
from mars_lmm.market.book import empty_books
from mars_lmm.market.quantities import nanoseconds
from mars_lmm.market.repack import repack
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.cpu import CODING, MARS_CODING, OBSERVING
from mars_lmm.tokenizers.mars_coding import MarsTables
from mars_lmm.tokenizers.orders import OrderTokenizer

HERE = Path(__file__).parent
NUM = 120
BEGIN, END = nanoseconds("begin", "09:16"), nanoseconds("end", "15:10")

SIMULATED = """
import sys
import warnings

import numpy as np
from device_session import Made, device_kernel

from mars_lmm.tokenizers.coding import CodingTables
from mars_lmm.tokenizers.mars_coding import MarsTables

given = np.load(sys.argv[1])


def part(kind, name):
    return kind(*(given[f"{name}.{field}"] for field in kind._fields))


tables = part(CodingTables, "tables")
tables = tables._replace(takers_rest=bool(tables.takers_rest))
made = part(Made, "made")
warnings.simplefilter("ignore", RuntimeWarning)  # of 64-bit products that wrap around, as they should
device_kernel()[1, 2](given["orders"], given["times"], given["seeds"], tables, part(MarsTables, "mars"), made)
np.savez(sys.argv[2], **made._asdict())
"""

COMPILED = """
import ptx

ptx.pretend()

from device_session import Made, device_kernel
from numba import boolean, float64, int16, int64, types

from mars_lmm.tokenizers.coding import CodingTables
from mars_lmm.tokenizers.mars_coding import MarsTables

_1, _2, _3, _4 = int64[::1], int64[:, ::1], int64[:, :, ::1], int64[:, :, :, ::1]
weights, features = float64[:, ::1], int16[:, :, ::1]
tables = types.NamedTuple((*[_1] * 7, *[int16[::1]] * 3, *[_2] * 4, *[weights] * 4, boolean), CodingTables)
mars_tables = types.NamedTuple((*[_1] * 4, *[_2] * 3, *[weights] * 3), MarsTables)
kinds = (*[_2] * 4, _3, _4, *[_3] * 3, features, features, float64[:, :, ::1], _3, _2, _4)
signature = (_3, _2, _1, tables, mars_tables, types.NamedTuple(kinds, Made))
print(ptx.length(device_kernel(), signature))
"""


def given_orders(rng):
    """Orders int64[2, NUM, 6] that trade, cancel, sweep a side and miss; times of a whole Shanghai day."""
    orders = np.zeros((2, NUM, t.NUM_ORDER_COLUMNS), dtype=np.int64)
    kinds = [t.LIMIT, t.CANCEL_AT, t.CANCEL, t.IOC, t.BEST_FIVE]
    orders[..., t.KIND] = rng.choice(kinds, (2, NUM), p=[0.66, 0.14, 0.1, 0.05, 0.05])
    orders[..., t.SIDE] = rng.integers(0, 2, (2, NUM))
    orders[..., t.PRICE] = 997 + 6 * (1 - orders[..., t.SIDE]) + rng.integers(-5, 6, (2, NUM))
    orders[..., t.SIZE] = 100 * rng.geometric(0.3, (2, NUM))
    orders[..., t.ORDER_ID] = np.arange(NUM)
    cancels = orders[..., t.KIND] == t.CANCEL
    orders[cancels, t.ORDER_ID] -= rng.integers(1, 20, cancels.sum())
    times = np.sort(rng.integers(BEGIN, END, (2, NUM)))
    times[:, 60:64] = times[:, 60:61]  # cancels at one time and price are one to MarS
    orders[:, 60:64] = orders[:, 60:61]
    orders[:, 60:64, t.KIND] = t.CANCEL_AT
    return orders, times


def tables_for(observed):
    """Both codings' tables, fitted to observations."""
    fields = (observed[:, o.PLACE] % o.CROSSING, observed[:, o.SIZE], observed[:, o.INTERVAL])
    bins = [QuantileBins.fit(values, count) for values, count in zip(fields, (32, 32, 16), strict=True)]
    level_size = QuantileBins.fit(observed[:, o.LEVELS + t.DEPTH], 32)
    mars_tables = MarsTables(
        *(b.edges for b in bins), level_size.edges, *(b.values for b in bins), *(b.cumulative for b in bins)
    )
    return OrderTokenizer.fit(observed, takers_rest=False).tables(), mars_tables


def test_the_cuda_simulator_gives_what_the_cpu_gives(tmp_path):
    orders, times = given_orders(np.random.default_rng(0))
    free = empty_books(1, 100, 64, 970)[0]
    ruled = repack(free, 1, 100, 64, day=load_rules("sse_main").day(previous_close=1000))
    books = np.concatenate([repack(free, 1, 100, 64, num_phases=9), ruled])
    seeds = np.array([-3, 2**40])
    session = make_session(kept_njit("market", "tokenizers", "simulation", _nrt=False), OBSERVING, CODING, MARS_CODING)

    def run(tables, mars_tables):
        made = blank(books, BEGIN, NUM)
        for b in range(2):
            session(b, orders, times, seeds, tables, mars_tables, made)
        return made

    accepted = run(*tables_for(np.ones((1, o.NUM_OBSERVED), dtype=np.int64))).observed.reshape(-1, o.NUM_OBSERVED)
    tables, mars_tables = tables_for(accepted[accepted[:, o.SIZE] > 0])
    expected = run(tables, mars_tables)
    parts = {"tables": tables, "mars": mars_tables, "made": blank(books, BEGIN, NUM)}
    arrays = {f"{name}.{field}": array for name, part in parts.items() for field, array in part._asdict().items()}
    np.savez(tmp_path / "given.npz", orders=orders, times=times, seeds=seeds, **arrays)
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", SIMULATED, tmp_path / "given.npz", tmp_path / "made.npz"],
        check=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path},
        timeout=100,
    )
    made = np.load(tmp_path / "made.npz")
    for name, array in expected._asdict().items():
        np.testing.assert_array_equal(made[name], array, err_msg=name)
    # The orders have passed through what there is to differ in.
    assert len(np.unique(expected.tokens[..., OURS])) > 50
    assert len(np.unique(expected.tokens[..., MARS])) > 50
    assert set(expected.orders[..., OURS, t.KIND].flat) == {t.LIMIT, t.CANCEL_AT, t.IOC}
    assert (expected.books[:, t.NUM_TRADES] > 5).all()
    assert expected.clocks[1, o.CLOSED_TIME] > nanoseconds("lunch", "01:30")
    assert (expected.market[..., 0] < 0).any()


def test_the_functions_compile_for_a_card():
    assert int(ptx.output_of(COMPILED, HERE)) > 10_000
