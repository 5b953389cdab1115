"""Random numbers from a counter: (seed, rollout, step, draw) decides the number, whoever asks and in what order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53


def make_uniforms(jit: Callable) -> Callable:
    """Compile `uniforms(seed, rollout, step, out)`, which fills a float64 vector with numbers in [0, 1).

    The mixing function is SplitMix64 (Steele, Lea and Flood 2014); the counters are absorbed one by one.
    """

    @jit
    def mix(x):
        x = (x ^ (x >> _S30)) * _MIX_1
        x = (x ^ (x >> _S27)) * _MIX_2
        return x ^ (x >> _S31)

    @jit
    def uniforms(seed, rollout, step, out):
        state = mix(np.uint64(seed) + _GOLDEN)
        state = mix((state ^ np.uint64(rollout)) + _GOLDEN)
        state = mix((state ^ np.uint64(step)) + _GOLDEN)
        for i in range(out.shape[0]):
            state = state + _GOLDEN
            out[i] = (mix(state) >> _S11) * _UNIT

    return uniforms
