"""MarS's features of an order stream, slowly and in its own units: prices in 0.0001 CNY, times in seconds."""

import numpy as np

TICK = 100
TYPES = "SBC"


class Lob:
    """Ten levels a side, [(price, volume), ...] from the best on."""

    def __init__(self, snapshot, last_price):
        self.asks, self.bids = (
            [(int(price) * TICK, int(size)) for price, size in side if price >= 0] for side in snapshot
        )
        self.last_price = last_price * TICK

    @property
    def mid(self):
        if self.asks and self.bids:
            bid, spread = self.bids[0][0], self.asks[0][0] - self.bids[0][0]
            return bid + spread // TICK // 2 * TICK
        best = self.asks or self.bids
        return best[0][0] if best else self.last_price


class ReferenceStream:
    """Collects rows of 15 numbers."""

    def __init__(self, converters):
        self.of = {name: converter.bin_of for name, converter in converters.items()}
        self.counts = [converters[name].num_bins for name in ("price-level", "pred-order-volume", "order-interval")]
        self.rows, self.latest, self.first_time, self.open_price = [], None, None, None
        self.previous = self.met = self.interval = None

    def trade(self, kind, price, volume, time, matched, first_trade, lob):
        """An order (price in ticks, time in nanoseconds), what of it traded, the day's first trade; the book after."""
        order = {"kind": kind, "price": price * TICK, "volume": volume, "time": time}
        if self.latest is None:
            self.latest, self.previous, self.first_time = lob, order, time
            return
        if self.open_price is None and matched:
            self.open_price = first_trade * TICK
        before, self.latest = self.latest, lob
        last = self.previous
        same = (
            kind == last["kind"] == "C"
            and self.met is not None
            and (time, order["price"]) == (last["time"], last["price"])
        )
        if same:
            order["volume"] += last["volume"]
            self.rows.pop()
        else:
            self.met, self.interval = before, (time - last["time"]) / 1e9
        self.previous = order
        self.rows.append(self._row(order, matched))

    def _row(self, order, matched):
        prices, volumes, intervals = self.counts
        index = TYPES.index(order["kind"])
        index = index * prices + self.of["price-level"](order["price"] - self.met.mid)
        index = index * volumes + self.of["order-volume"](order["volume"])
        index = index * intervals + self.of["order-interval"](self.interval)
        level = dict(self.met.bids + self.met.asks).get(order["price"])
        volume_ratio = 1.0 if level is None else order["volume"] / (level + order["volume"])
        trans_ratio = 1.0 if order["kind"] == "C" else matched / order["volume"]
        mid = self.latest.mid
        change = 0.0 if self.open_price is None else float(np.clip(mid / self.open_price - 1, -0.2, 0.2))
        seconds = (order["time"] - self.first_time) / 1e9
        if order["time"] // (3600 * 10**9) >= 13:
            seconds -= 1.5 * 3600
        slots = [0] * 10
        for price, volume in self.latest.asks + self.latest.bids:
            slot = (price - mid) // TICK + 5
            if 0 <= slot < 10:
                slots[slot] = self.of["lob-volume"](volume) + 1
        ratios = [int(np.floor(ratio * 0.99 * 10)) for ratio in (volume_ratio, trans_ratio)]
        return [index, *ratios, int(change * 10000), min(max(int(seconds), 0), 14404), *slots]
