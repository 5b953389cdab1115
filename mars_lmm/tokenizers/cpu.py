"""The observing and coding functions compiled for the CPU, once a process."""

from mars_lmm.compilation import kept_njit
from mars_lmm.market.cpu import VENUE, scalar_njit
from mars_lmm.market.resolve import make_resolving
from mars_lmm.tokenizers.coding import make_coding
from mars_lmm.tokenizers.observation import make_observing

OBSERVING = make_observing(scalar_njit, VENUE, make_resolving(scalar_njit, VENUE).apply)
CODING = make_coding(scalar_njit)

_encode = CODING.encode


@kept_njit("market", "tokenizers")
def encode_observations(tables, observed, token, market):
    """Encode N observations into token[N] and market[N, NUM_MARKET_FEATURES]."""
    for i in range(observed.shape[0]):
        token[i] = _encode(tables, observed[i], market[i])
