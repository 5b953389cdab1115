import collections
import functools
import os
import pickle
import struct
import zlib

import mars_release as release
import numpy as np
import pytest

from mars_lmm.models.mars_converters import FILES, load_converters
from mars_lmm.models.mars_pickle import MAX_BYTES, read_converter
from mars_lmm.tokenizers.bins import QuantileBins
from mars_lmm.tokenizers.mars import MarsTokenizer

TO_RELEASED = {  # from our integers to the numbers of a converter
    "price": lambda ticks: 100 * ticks,
    "size": lambda units: units,
    "drawn_size": lambda units: units,
    "interval": lambda nanos: nanos / 1e9,
    "level_size": lambda units: units,
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_converter_is_read_back(tmp_path, protocol):
    converter = release.released_converters()["order-interval"]
    path = release.write_compressed(tmp_path / "c.zstd", release.pickled(converter, protocol))
    read = read_converter(path)
    np.testing.assert_array_equal(read.edges, converter.bins)
    for number in range(converter.num_bins):
        np.testing.assert_array_equal(read.values[number], converter.bin_values[number])
        np.testing.assert_array_equal(read.probabilities[number], converter.bin_probs[number])


def test_numpy_1_and_other_byte_orders_are_read_too(tmp_path):
    converter = release.released_converters()["price-level"]
    converter.bins = converter.bins.astype(">i4")
    converter.bin_values[0] = np.asfortranarray(converter.bin_values[0].astype(np.float32))
    data = release.pickled(converter).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    # The name became a byte shorter, and tells its length.
    data = data.replace(b"\x8c\x16numpy.core.multiarray", b"\x8c\x15numpy.core.multiarray")
    data = data[:2] + b"\x95" + struct.pack("<Q", len(data) - 11) + data[11:]
    assert b"numpy.core.multiarray" in data
    read = read_converter(release.write_compressed(tmp_path / "c.zstd", data))
    np.testing.assert_array_equal(read.edges, converter.bins.astype(float))


def test_bins_agree_with_the_released_rule(tmp_path):
    released = release.released_converters()
    converters = load_converters([release.write_converters(tmp_path)])
    rng = np.random.default_rng(0)
    for field, (name, _) in FILES.items():
        converter, bins, number = released[name], getattr(converters, field), TO_RELEASED[field]
        edges = bins.edges[np.abs(bins.edges) < 2**40]
        near = (edges[:, None] + np.arange(-2, 3)).ravel()
        spread = np.abs(edges).max() * 3 + 10
        ours = np.concatenate([near, rng.integers(-spread, spread, 500), [0, 10**12, -(10**12)]])
        wanted = [converter.bin_of(number(value)) for value in ours.tolist()]
        np.testing.assert_array_equal(bins.encode(ours), wanted, err_msg=field)


def test_draws_have_the_released_weights(tmp_path):
    converters = load_converters([release.write_converters(tmp_path)])
    sizes = converters.drawn_size
    assert sizes.values[2, :3].tolist() == [150, 200, 300]
    np.testing.assert_allclose(np.diff(sizes.cumulative[2, :3], prepend=0), [0.2, 0.3, 0.5])
    assert converters.price.values[4, :3].tolist() == [3, 5, 7]
    assert converters.interval.values[1, :3].tolist() == [10_000_000, 100_000_000, 290_000_000]
    assert converters.level_size.values[3, 0] == 1500  # a bin in which nothing was seen stands for its edge


def test_the_tokenizer_is_plain_values(tmp_path):
    converters = load_converters([release.write_converters(tmp_path)])
    tokenizer = MarsTokenizer((3, 5, 4, 3), converters)
    again = MarsTokenizer.from_dict(tokenizer.to_dict())
    assert again.checksum == tokenizer.checksum
    for field, bins in vars(converters).items():
        for name, array in vars(bins).items():
            np.testing.assert_array_equal(getattr(getattr(again.converters, field), name), array)
    assert isinstance(again.converters.price, QuantileBins)
    with pytest.raises(ValueError, match="size has 4 bins, the model 6"):
        MarsTokenizer((3, 5, 6, 3), converters)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused(tmp_path, data, match):
    path = release.write_compressed(tmp_path / "c.zstd", data)
    with pytest.raises(ValueError, match=match) as caught:
        read_converter(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (Calls(os.system, "touch {}"), r"(posix|nt)\.system"),
        (Calls(eval, "open('{}', 'w')"), "(builtins|__builtin__).eval"),
        (Calls(exec, "open('{}', 'w')"), "(builtins|__builtin__).exec"),
        (Calls(getattr, print, "__self__"), r"(builtins|__builtin__)\.getattr"),
        (Calls(np.load, "{}"), r"numpy\.load|numpy.*load"),
        (Calls(np.fromfile, "{}"), r"fromfile"),
        (Calls(np.zeros, 10**15), r"numpy.*zeros"),
        (functools.partial(print, "{}"), r"functools\.partial"),
        (collections.OrderedDict(), r"collections\.OrderedDict"),
        (np.float64(3), r"scalar"),
        (np.array([print], dtype=object), r"print|'O8'"),
        (np.zeros(3, dtype=[("a", "i4")]), r"dtype"),
        (np.array(["text"]), r"U4"),
        (np.ma.array([1.0]), r"numpy\.ma"),
        (np.zeros(2).view(np.recarray), r"recarray"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_anything_else_is_refused_by_name(tmp_path, payload, match, protocol):
    target = tmp_path / "touched"
    if isinstance(payload, Calls) and isinstance(payload.call[1][0], str):
        payload = Calls(payload.call[0], payload.call[1][0].format(target))
    refused(tmp_path, pickle.dumps({"bins": [payload]}, protocol=protocol), match)
    assert not target.exists()


def hand_made(*instructions):
    return b"\x80\x04" + b"".join(instructions) + b"."


def name(module, attribute):
    return b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, attribute)) + b"\x93"


BIN_CONVERTER = ("market_simulation.utils.bin_converter", "BinConverter")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        # A dotted path through an admitted name.
        (hand_made(name("numpy", "ndarray.__class__")), r"numpy\.ndarray\.__class__"),
        (hand_made(name(BIN_CONVERTER[0], "BinConverter.__init__.__globals__")), "__globals__"),
        # numpy.ndarray((2**40,)): memory of any size.
        (hand_made(name("numpy", "ndarray"), b"\x8a\x06", (2**40).to_bytes(6, "little"), b"\x85R"), "numpy.ndarray"),
        # An admitted class gets attributes instead of a state.
        (hand_made(name("numpy", "ndarray"), b"}\x8c\x01xK\x01sb"), "c.zstd"),
        (hand_made(name(*BIN_CONVERTER), b")\x81}\x8c\x05stateK\x01sb"), "state instead of num_bins"),
        # An array that claims more than it has.
        (
            hand_made(
                name("numpy._core.multiarray", "_reconstruct"),
                name("numpy", "ndarray"),
                b"K\x00\x85C\x01b\x87R(K\x01\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85",
                name("numpy", "dtype"),
                b"\x8c\x02f8\x89\x88\x87R\x89C\x08" + bytes(8) + b"tb",
            ),
            "in 8 bytes",
        ),
        # Tuples of twice the one before: two to the forty numbers, were they told.
        (
            hand_made(
                name("numpy", "dtype"),
                b"K\x01\x94",
                *(b"h" + bytes([i]) + b"\x86\x94" for i in range(40)),
                b"\x85R",
            ),
            "array of dtype",
        ),
        # Instructions that no converter needs: persistent ids, extension codes, old-style instances.
        (b"\x80\x04K\x01Q.", "BINPERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"(ios\nsystem\n.", "INST"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        # A place to remember at, four billion places on.
        (b"\x80\x04K\x01r" + (2**32 - 1).to_bytes(4, "little") + b".", "beyond its own length"),
        # Bytes that are not there.
        (b"\x80\x04B" + (2**31).to_bytes(4, "little") + b"x.", "c.zstd"),
        (b"\x80\x04K\x01", "c.zstd"),
        (pickle.dumps({"num_bins": 3}), "dict, not a BinConverter"),
    ],
)
def test_hand_made_pickles_are_refused(tmp_path, data, match):
    refused(tmp_path, data, match)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    good = release.pickled(release.released_converters()["order-volume"])
    path = tmp_path / "c.zstd"
    for data in (b"", b"nothing compressed", zlib.compress(good), good):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"c\.zstd"):
            read_converter(path)
    refused(tmp_path, good[:-30], "not read")
    refused(tmp_path, bytes(MAX_BYTES + 1), "more than 4 MiB")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: setattr(c, "num_bins", 10**9), "num_bins"),
        (lambda c: setattr(c, "num_bins", "4"), "num_bins"),
        (lambda c: setattr(c, "bins", c.bins[::-1].copy()), "ascending"),
        (lambda c: setattr(c, "bins", c.bins.tolist()), "bins holds"),
        (lambda c: setattr(c, "bins", c.bins.reshape(-1, 1)), "bins holds"),
        (lambda c: setattr(c, "bins", c.bins * np.nan), "bins holds"),
        (lambda c: setattr(c, "extra", 1), "extra"),
        (lambda c: c.bin_values.pop(), "bin_values is not a list of 4"),
        (lambda c: c.bin_probs.__setitem__(1, np.array([0.5, 0.6])), "add up to 1.1"),
        (lambda c: c.bin_probs.__setitem__(1, np.array([1.5, -0.5])), "add up"),
        (lambda c: c.bin_values.__setitem__(0, np.array([1, 2])), "2 values and 1 prob"),
    ],
)
def test_converters_that_make_no_sense_are_refused(tmp_path, change, match):
    converter = release.released_converters()["order-volume"]
    change(converter)
    refused(tmp_path, release.pickled(converter), match)


def test_the_unpickler_calls_nothing_of_numpys(tmp_path, monkeypatch):
    path = release.write_compressed(tmp_path / "c.zstd", release.pickled(release.released_converters()["order-volume"]))
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("pickle.loads"))
    monkeypatch.setattr(np._core.multiarray, "_reconstruct", lambda *_: pytest.fail("numpy"))
    assert read_converter(path).edges.tolist() == [0, 1, 150, 400, 5000]
