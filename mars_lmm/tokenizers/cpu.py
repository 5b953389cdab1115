"""The observing and coding functions compiled for the CPU, once a process."""

from functools import partial

from mars_lmm.compilation import kept_njit
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.market.resolve import make_resolving
from mars_lmm.tokenizers.coding import make_coding
from mars_lmm.tokenizers.mars_coding import make_mars_coding
from mars_lmm.tokenizers.observation import make_observing

# These pass a dozen arrays on; inlined, they take half the time or less.
_inlined_njit = partial(scalar_njit, forceinline=True)

_apply = make_resolving(_inlined_njit, VENUE).apply
OBSERVING = make_observing(_inlined_njit, VENUE, _apply)
OBSERVING_ONE_BOOK = make_observing(_inlined_njit, VENUE, _apply, refreshes=True)
CODING = make_coding(_inlined_njit, VENUE.trading.nth_price)
MARS_CODING = make_mars_coding(_inlined_njit)

_encode = CODING.encode


@kept_njit("market", "tokenizers", _nrt=False)
def encode_observations(tables, observed, token, market):
    """Encode N observations into token[N] and market[N, NUM_MARKET_FEATURES]."""
    for i in range(observed.shape[0]):
        token[i] = _encode(tables, observed[i], market[i])
