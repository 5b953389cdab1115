"""The observing and coding functions compiled for the CPU, once a process."""

import numba

from mars_lmm.market.cpu import MATCHING
from mars_lmm.market.resolve import make_resolving
from mars_lmm.tokenizers.coding import make_coding
from mars_lmm.tokenizers.observation import make_observing

_jit = numba.njit(nogil=True)

OBSERVING = make_observing(_jit, MATCHING, make_resolving(_jit, MATCHING).apply)
CODING = make_coding(_jit)

_encode = CODING.encode


@_jit
def encode_observations(tables, observed, token, market):
    """Encode N observations into token[N] and market[N, NUM_MARKET_FEATURES]."""
    for i in range(observed.shape[0]):
        token[i] = _encode(tables, observed[i], market[i])
