"""A step of one rollout in scalar functions: one source for a loop on the CPU and for a thread a book on a GPU.

A step is: `draw` random numbers where the model is asked for an order; (the model draws a token;) `plan` when that
order comes; for each agent `look` whether it decides now, (it decides,) `send` its orders on their way; `act`: the
earliest order is executed, observed, coded and recorded; (the model reads it).

Of two events at one moment comes first: what the venue's schedule holds; the model's order; agents' orders that arrive,
by agent and then as they were sent; agents' decisions, by agent. So a decision sees all that has happened by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market import types as t
from mars_lmm.market.book import NO_SLOT
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.venue import Venue
from mars_lmm.simulation.engine import columns as c
from mars_lmm.simulation.engine.random import make_uniforms
from mars_lmm.simulation.engine.step_coding import StepCoding
from mars_lmm.tokenizers import observation as o
from mars_lmm.tokenizers.coding import NUM_DECODE_DRAWS
from mars_lmm.tokenizers.observation import Observing

NUM_SAMPLE_DRAWS = 4
NUM_DRAWS = NUM_SAMPLE_DRAWS + NUM_DECODE_DRAWS


class Program(NamedTuple):
    """Compiled functions for book `b`; `m`, `r`, `a`, `k` are the batch's arrays (`arrays.py`)."""

    draw: Callable  # (m, r, b, seed)
    plan: Callable  # (tables, m, r, b, tokens, healthy, has_model)
    look: Callable  # (m, r, a, k, b, agent, seed)
    send: Callable  # (m, r, a, b, agent, orders, wakes, on_order, see_latency, send_latency)
    track: Callable  # (m, a, b, agent): bring the agent's open orders up to date
    act: Callable  # (tables, m, r, a, k, b, queue_rule, limits)


def make_program(jit: Callable, venue: Venue, observing: Observing, coding: StepCoding) -> Program:
    """Compile the functions.

    Args:
        jit: The compiler, as for the matching core.
        venue: The compiled venue.
        observing: The compiled observation.
        coding: The compiled coding.
    """
    uniforms = make_uniforms(jit)
    lesser, greater = make_extrema(jit)
    step, after, pass_time = observing.step, observing.after, observing.pass_time
    snapshot, find = venue.matching.snapshot, venue.matching.find
    waiting_time, decode, encode = coding

    @jit
    def mode_now(book):
        """What the venue does with orders now."""
        if book[t.HALTED_UNTIL] > 0:
            return book[t.RULES + t.HALT_MODE]
        return book[book[t.PHASES_AT] + book[t.PHASE] * t.NUM_PHASE_COLUMNS + t.PHASE_MODE]

    @jit
    def finish(progress, reason, time):
        if progress[c.END] == c.RUNNING:
            progress[c.END] = reason
            progress[c.END_AT] = time

    @jit
    def come_after(progress, time):
        """Let the model's orders come no earlier, also where the exchange rejects the one that comes next."""
        progress[c.NOT_BEFORE] = greater(progress[c.NOT_BEFORE], time)

    @jit
    def draw(m, r, b, seed):
        progress = r.progress[b]
        if progress[c.END] != c.RUNNING or progress[c.PROPOSED] != 0:
            return
        uniforms(seed, progress[c.ROLLOUT], progress[c.PROPOSALS], r.draws[b])
        book = m.books[b]
        takes_cancels = book[book[t.PHASES_AT] + book[t.PHASE] * t.NUM_PHASE_COLUMNS + t.PHASE_CANCELS] != 0
        r.types[b, o.CANCEL_TYPE] = takes_cancels or book[t.HALTED_UNTIL] > 0

    @jit
    def plan(tables, m, r, b, tokens, healthy, has_model):
        progress = r.progress[b]
        if progress[c.END] != c.RUNNING or progress[c.PROPOSED] != 0:
            return
        if not has_model:
            progress[c.PROPOSED] = 1
            progress[c.NEXT_TIME] = c.NEVER
            return
        if not healthy[b]:
            finish(progress, c.NOT_FINITE, m.clock[b, o.LAST_TIME])
            return
        progress[c.PROPOSALS] += 1
        interval = waiting_time(tables, tokens[b], r.draws[b, NUM_SAMPLE_DRAWS:])
        time = after(m.books[b], m.clock[b, o.LAST_TIME], interval)
        earliest = progress[c.NOT_BEFORE]
        if time < earliest and progress[c.TRIES] < c.MAX_TRIES:
            # No order has come until now: ask for the next one given that.
            progress[c.TRIES] += 1
            return
        progress[c.TRIES] = 0
        progress[c.PROPOSED] = 1
        progress[c.NEXT_TOKEN] = tokens[b]
        # Where the venue is shut at the earliest moment, it comes when that is over.
        progress[c.NEXT_TIME] = greater(time, after(m.books[b], earliest, 0))

    @jit
    def first_arrival(a, b):
        """The agent whose order arrives first, or -1, and when."""
        first, time = -1, c.NEVER
        for agent in range(a.desk.shape[1]):
            desk = a.desk[b, agent]
            if desk[c.COUNT] > 0:
                arrival = a.queue[b, agent, desk[c.FIRST], c.ARRIVAL]
                if arrival < time:
                    first, time = agent, arrival
        return first, time

    @jit
    def first_wake(a, b):
        """The agent that decides first, or -1, and when."""
        first, time = -1, c.NEVER
        for agent in range(a.desk.shape[1]):
            wake = a.desk[b, agent, c.WAKE]
            if wake < time:
                first, time = agent, wake
        return first, time

    @jit
    def note_dropped(book, progress, num_agents):
        """Count the fills among the trades that found no row: agents' accounts tell whether there are any."""
        units = 0
        for agent in range(num_agents):
            account = book[t.ACCOUNTS_AT] + (agent + 1) * t.NUM_ACCOUNT_COLUMNS
            units += book[account + t.BOUGHT] + book[account + t.SOLD]
        missing = units - progress[c.UNITS_NOTED]
        progress[c.FILLS_LOST] += lesser(missing, book[t.TRADES_DROPPED])
        progress[c.UNITS_NOTED] = units
        book[t.TRADES_DROPPED] = 0

    @jit
    def note_fills(m, r, a, k, b, time):
        """Record the trades of the last call that agents had a part in, and forget the rows."""
        book, progress = m.books[b], r.progress[b]
        num_rows = lesser(book[t.TRADE_ROWS], m.trades.shape[1])
        book[t.TRADE_ROWS] = 0
        if a.desk.shape[1] == 0:
            return
        for row in range(num_rows):
            trade = m.trades[b, row]
            for takes in range(2):
                owner = trade[t.INCOMING_OWNER] if takes == 1 else trade[t.RESTING_OWNER]
                if owner < 1 or owner > a.desk.shape[1]:
                    continue
                progress[c.UNITS_NOTED] += trade[t.TRADE_SIZE]
                at = progress[c.FILLS]
                if at >= k.fills.shape[1]:
                    progress[c.FILLS_LOST] += 1
                    continue
                progress[c.FILLS] += 1
                fill = k.fills[b, at]
                auction = trade[t.INCOMING_SIDE] == t.NO_SIDE
                # In an auction the seller stands where the resting order does.
                buyer = takes == 1 if auction else (trade[t.INCOMING_SIDE] == t.BUY) == (takes == 1)
                fill[0] = time
                fill[1] = owner
                fill[2] = t.BUY if buyer else t.SELL
                fill[3] = trade[t.TRADE_PRICE]
                fill[4] = trade[t.TRADE_SIZE]
                fill[5] = trade[t.INCOMING_ID] if takes == 1 else trade[t.RESTING_ID]
                fill[6] = 1 if auction else takes
        if book[t.TRADES_DROPPED] > 0:
            note_dropped(book, progress, a.desk.shape[1])

    @jit
    def next_event(book):
        """When the session's next phase begins or its halt ends."""
        following = book[t.PHASE] + 1
        start = c.NEVER
        if following < book[t.NUM_PHASES]:
            start = book[book[t.PHASES_AT] + following * t.NUM_PHASE_COLUMNS + t.PHASE_START]
        return lesser(start, book[t.HALTED_UNTIL]) if book[t.HALTED_UNTIL] > 0 else start

    @jit
    def let_pass(m, r, a, k, b, time):
        """Let the session pass to `time`, auctions included: each at its own moment, which its fills are told at."""
        book = m.books[b]
        if book[t.RULES + t.ENFORCED] == 0:
            return
        event = next_event(book)
        while event <= time and event < c.NEVER:
            pass_time(book, m.clock[b], event, m.trades[b], m.snapshot[b])
            note_fills(m, r, a, k, b, event)
            come_after(r.progress[b], event)
            event = next_event(book)
        pass_time(book, m.clock[b], time, m.trades[b], m.snapshot[b])
        note_fills(m, r, a, k, b, time)

    @jit
    def track_own(m, a, b, agent):
        """Bring the agent's open orders up to date, oldest first."""
        book, own = m.books[b], a.own[b, agent]
        kept = 0
        for row in range(own.shape[0]):
            order_id = own[row, c.OWN_ID]
            slot = find(book, order_id) if order_id != 0 else NO_SLOT
            if slot != NO_SLOT:
                own[kept, c.OWN_ID] = order_id
                own[kept, c.OWN_SIDE] = book[slot + t.SIDE]
                own[kept, c.OWN_PRICE] = book[slot + t.PRICE]
                own[kept, c.OWN_SIZE] = book[slot + t.SIZE]
                kept += 1
        for row in range(kept, own.shape[0]):
            for column in range(c.NUM_OWN):
                own[row, column] = 0
        return kept

    @jit
    def look(m, r, a, k, b, agent, seed):
        progress, desk = r.progress[b], a.desk[b, agent]
        desk[c.DUE] = 0
        if progress[c.END] != c.RUNNING or progress[c.PROPOSED] == 0:
            return
        first, wake = first_wake(a, b)
        if first != agent or wake > progress[c.END_TIME]:
            return
        _, arrival = first_arrival(a, b)
        if wake >= lesser(progress[c.NEXT_TIME], arrival):
            return
        desk[c.DUE] = 1
        uniforms(seed + ((agent + 1) << c.IDS_OF_AGENT), progress[c.ROLLOUT], desk[c.DECISIONS], a.draws[b, agent])
        desk[c.DECISIONS] += 1
        let_pass(m, r, a, k, b, wake)
        snapshot(m.books[b], m.snapshot[b])
        track_own(m, a, b, agent)

    @jit
    def send_one(m, a, b, agent, order, earliest, latency):
        """Put an order on its way; return whether there was room."""
        desk, queue = a.desk[b, agent], a.queue[b, agent]
        if desk[c.COUNT] == queue.shape[0]:
            return False
        entry = queue[(desk[c.FIRST] + desk[c.COUNT]) % queue.shape[0]]
        for column in range(c.NUM_QUEUED):
            entry[column] = order[column]
        if order[c.FLAGS] & c.RECORDED == 0:
            entry[t.OWNER] = t.BACKGROUND if order[c.FLAGS] & c.BACKGROUND != 0 else agent + 1
            if entry[t.ORDER_ID] == 0:
                entry[t.ORDER_ID] = c.FIRST_AGENT_ID + (agent << c.IDS_OF_AGENT) + desk[c.SENT]
                desk[c.SENT] += 1
            entry[c.ARRIVAL] = greater(earliest, order[c.ARRIVAL]) + latency
        # One line to the exchange: no order overtakes another.
        entry[c.ARRIVAL] = greater(entry[c.ARRIVAL], desk[c.LAST_ARRIVAL])
        desk[c.LAST_ARRIVAL] = entry[c.ARRIVAL]
        desk[c.COUNT] += 1
        return True

    @jit
    def send(m, r, a, b, agent, orders, wakes, on_order, see_latency, send_latency):
        desk = a.desk[b, agent]
        if desk[c.DUE] == 0:
            return
        now = desk[c.WAKE]
        for row in range(orders.shape[1]):
            if orders[b, row, t.KIND] == t.IDLE:
                continue
            come_after(r.progress[b], now)
            if not send_one(m, a, b, agent, orders[b, row], now + see_latency, send_latency):
                finish(r.progress[b], c.QUEUE_FULL, now)
        # What it sees at a moment of its own clock happened `see_latency` earlier; and time must pass.
        desk[c.WAKE] = greater(wakes[b] - see_latency, now + 1)
        desk[c.ON_ORDER] = on_order[b]

    @jit
    def takes_ioc(book):
        """Whether an order may trade at once and leave nothing: no auction takes that, nor do some venues."""
        if book[t.RULES + t.ENFORCED] == 0:
            return True
        return mode_now(book) == t.CONTINUOUS and book[t.RULES + t.KINDS_TAKEN] >> t.IOC & 1 != 0

    @jit
    def in_lots(book, side, size):
        """The size that the venue takes which is nearest to this one."""
        lot, smallest = book[t.RULES + t.LOT], book[t.RULES + t.MIN_ORDER]
        if book[t.RULES + t.ENFORCED] == 0 or lot < 2 or (side == t.SELL and book[t.RULES + t.ODD_LOT_SELLS] != 0):
            return size
        return greater((size + lot // 2) // lot * lot, (smallest + lot - 1) // lot * lot)

    @jit
    def suit_venue(book, order):
        """Make an order of the background's one that the venue takes, as those who trade there would."""
        if order[t.KIND] == t.IOC and not takes_ioc(book):
            order[t.KIND] = t.LIMIT
        if order[t.KIND] != t.CANCEL_AT:
            order[t.SIZE] = in_lots(book, order[t.SIDE], order[t.SIZE])

    @jit
    def propose_order(tables, m, r, b):
        """Write the model's order, whose price is told from the touch as it is now."""
        progress, order = r.progress[b], r.order[b]
        decode(tables, m, b, progress[c.NEXT_TOKEN], r.draws[b, NUM_SAMPLE_DRAWS:], order)
        suit_venue(m.books[b], order)
        order[t.ORDER_ID] = progress[c.NEXT_ID]
        order[t.OWNER] = t.BACKGROUND
        order[c.ARRIVAL] = progress[c.NEXT_TIME]
        order[c.FLAGS] = 0
        progress[c.NEXT_ID] += 1

    @jit
    def take_from_queue(m, r, a, b, agent):
        """Take the agent's next order, and complete what only the book knows of it."""
        desk, order = a.desk[b, agent], r.order[b]
        entry = a.queue[b, agent, desk[c.FIRST]]
        for column in range(c.NUM_QUEUED):
            order[column] = entry[column]
        desk[c.FIRST] = (desk[c.FIRST] + 1) % a.queue.shape[2]
        desk[c.COUNT] -= 1
        if order[c.FLAGS] & c.BACKGROUND != 0:
            suit_venue(m.books[b], order)
        if order[c.FLAGS] & c.RECORDED == 0 and (order[t.KIND] == t.CANCEL or order[t.KIND] == t.REPLACE):
            slot = find(m.books[b], order[t.ORDER_ID])
            if slot != NO_SLOT:
                order[t.SIDE] = m.books[b, slot + t.SIDE]
            if order[t.KIND] == t.CANCEL:
                # A recorded cancel may act on what lies at its price; an agent's names one order and no other.
                order[t.PRICE] = t.NO_PRICE

    @jit
    def put_in_call(book, enforced, mode):
        """Put a book without rules into a call auction, or back into continuous trading."""
        book[t.RULES + t.ENFORCED] = enforced
        book[book[t.PHASES_AT] + t.PHASE_MODE] = mode

    @jit
    def execute(m, r, b, time, queue_rule):
        """Execute `order` and observe it; return whether it is on the tape."""
        order = r.order[b]
        anonymous, collected = order[c.FLAGS] & c.ANONYMOUS != 0, order[c.FLAGS] & c.COLLECTED != 0
        if collected:
            put_in_call(m.books[b], 1, t.CALL)
        done = step(
            m.books[b],
            m.clock[b],
            order,
            time,
            anonymous,
            queue_rule,
            m.report[b],
            m.trades[b],
            m.snapshot[b],
            m.observed[b],
            m.tape[b],
        )
        if collected:
            put_in_call(m.books[b], 0, t.CONTINUOUS)
        return done and not anonymous

    @jit
    def settle(m, r, a, k, b, time, source):
        """What follows for those who wait for news, and for the sender's open orders."""
        note_fills(m, r, a, k, b, time)
        report, progress = m.report[b], r.progress[b]
        r.outcomes[b, source, report[t.OUTCOME]] += 1
        if report[t.OUTCOME] != t.ACCEPTED:
            if report[t.OUTCOME] == t.BOOK_FULL:
                finish(progress, c.BOOK_FULL, time)
            return
        for agent in range(a.desk.shape[1]):
            desk = a.desk[b, agent]
            if desk[c.ON_ORDER] != 0 and agent + 1 != source:
                desk[c.ON_ORDER] = 0
                desk[c.WAKE] = lesser(desk[c.WAKE], time)
        is_own = source > 0 and r.order[b, c.FLAGS] & (c.RECORDED | c.BACKGROUND) == 0
        own_order = is_own and r.order[b, t.KIND] != t.CANCEL
        if own_order and report[t.RESTING] + report[t.PARKED] > 0:
            own, order_id = a.own[b, source - 1], r.order[b, t.ORDER_ID]
            kept = track_own(m, a, b, source - 1)
            for row in range(kept):
                if own[row, c.OWN_ID] == order_id:
                    return
            if kept == own.shape[0]:
                finish(progress, c.OPEN_ORDERS, time)
            else:
                own[kept, c.OWN_ID] = order_id

    @jit
    def check_market(m, r, b, time, limits):
        """End a rollout whose market has gone wrong."""
        book, progress, levels = m.books[b], r.progress[b], m.snapshot[b]
        ask, bid = levels[t.SELL, 0, 0], levels[t.BUY, 0, 0]
        if book[t.RULES + t.ENFORCED] != 0:
            if mode_now(book) != t.CONTINUOUS:
                progress[c.EMPTY_SINCE] = c.NEVER
                return
            up, down = book[t.RULES + t.LIMIT_UP], book[t.RULES + t.LIMIT_DOWN]
            if up < t.MAX_PRICE and (bid == up or ask == down):
                finish(progress, c.PRICE_LIMIT, time)
        if ask != t.NO_PRICE and bid != t.NO_PRICE:
            progress[c.EMPTY_SINCE] = c.NEVER
            return
        open_time = time - m.clock[b, o.CLOSED_TIME]
        if progress[c.EMPTY_SINCE] == c.NEVER:
            progress[c.EMPTY_SINCE] = open_time
        elif open_time - progress[c.EMPTY_SINCE] > limits.empty_side:
            finish(progress, c.EMPTY_SIDE, time)

    @jit
    def is_closed(book):
        """Whether the venue has shut for the day."""
        following = book[t.PHASE] + 1
        if book[t.RULES + t.ENFORCED] == 0 or mode_now(book) != t.SHUT or book[t.HALTED_UNTIL] > 0:
            return False
        if following == book[t.NUM_PHASES]:
            return True
        return book[book[t.PHASES_AT] + following * t.NUM_PHASE_COLUMNS + t.PHASE_START] == t.FOREVER

    @jit
    def end_at(m, r, a, k, b):
        """The rollout's time is over; the auctions that are due are still held."""
        progress, book = r.progress[b], m.books[b]
        let_pass(m, r, a, k, b, progress[c.END_TIME])
        snapshot(book, m.snapshot[b])
        reason = c.SESSION_END if is_closed(book) else c.HORIZON
        finish(progress, reason, progress[c.END_TIME])

    @jit
    def act(tables, m, r, a, k, b, queue_rule, limits):
        progress, row = r.progress[b], k.rows[k.cursor[0], b]
        row[c.ROW_SOURCE] = c.NOBODY
        progress[c.SOURCE] = c.NOBODY
        r.accepted[b] = False
        m.replaced[b] = False
        if progress[c.END] != c.RUNNING or progress[c.PROPOSED] == 0:
            return
        agent, arrival = first_arrival(a, b)
        models = progress[c.NEXT_TIME] <= arrival
        time = progress[c.NEXT_TIME] if models else arrival
        _, wake = first_wake(a, b)
        if wake < time and wake <= progress[c.END_TIME]:
            return  # somebody decides before
        if time > progress[c.END_TIME] or time == c.NEVER:
            end_at(m, r, a, k, b)
            return
        book = m.books[b]
        let_pass(m, r, a, k, b, time)
        source = c.MODEL if models else agent + 1
        if models:
            if book[t.HALTED_UNTIL] > time and mode_now(book) == t.SHUT:
                progress[c.NEXT_TIME] = book[t.HALTED_UNTIL]
                return
            propose_order(tables, m, r, b)
            progress[c.PROPOSED] = 0
        else:
            take_from_queue(m, r, a, b, agent)
        recorded = r.order[b, c.FLAGS] & c.RECORDED != 0
        background = models or r.order[b, c.FLAGS] & c.BACKGROUND != 0
        accepted = execute(m, r, b, time, queue_rule if background else t.OLDEST_FIRST)
        progress[c.SOURCE] = source
        if models and m.report[b, t.OUTCOME] == t.ACCEPTED:
            progress[c.IN_A_ROW] = 0
        elif models:
            progress[c.IN_A_ROW] += 1
            if progress[c.IN_A_ROW] == limits.in_a_row:
                finish(progress, c.REFUSED, time)
        settle(m, r, a, k, b, time, source)
        if not accepted:
            return
        encode(tables, m, b)
        r.accepted[b] = True
        progress[c.PROPOSED] = 0
        progress[c.ORDERS] += 1
        for column in range(o.NUM_TAPE):
            row[column] = m.tape[b, column]
        row[c.ROW_SOURCE] = source
        row[c.ROW_ORDER_ID] = r.order[b, t.ORDER_ID]
        if not recorded:
            check_market(m, r, b, time, limits)
        if progress[c.ORDERS] == progress[c.ORDER_LIMIT]:
            finish(progress, c.MAX_ORDERS, time)

    return Program(draw, plan, look, send, track_own, act)
