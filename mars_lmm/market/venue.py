"""The venue: a book under rules. Time passes, orders are admitted, carried out, and may stop the trading."""

from collections.abc import Callable
from typing import NamedTuple

from mars_lmm.market import types as t
from mars_lmm.market.accounts import MILLION, make_accounts
from mars_lmm.market.admission import make_admission
from mars_lmm.market.auction import make_auction
from mars_lmm.market.book import NEXT, NO_SLOT, Queues, make_queues
from mars_lmm.market.extrema import make_extrema
from mars_lmm.market.matching import Matching, compose_matching
from mars_lmm.market.trading import Trading, make_trading
from mars_lmm.market.types import RULES


class Venue(NamedTuple):
    """The compiled functions of one book under rules; see `docs/market.md` for what they do."""

    matching: Matching
    """The matching core that the venue stands on."""
    trading: Trading
    """Continuous trading, which the matching core stands on."""
    queues: Queues
    """The queues that continuous trading stands on."""
    submit: Callable
    """(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades): one message at `time`.

    First the session's clock advances to `time`, with the auctions and releases that are due; then the order is
    checked and carried out. Fills `report`; the rows of `trades` hold every trade of the call in order, as many as
    TRADE_ROWS says. An IDLE message only lets time pass.
    """
    advance: Callable
    """(book, time, trades): let time pass; trades are appended to the rows that the last call used."""
    equilibrium: Callable
    """(book) -> (price, volume) of a call auction held now; NO_PRICE and 0 if nothing crosses."""


def make_venue(jit: Callable) -> Venue:
    """Compile the venue, and what it stands on, with `jit`."""
    lesser, greater = make_extrema(jit)
    accounts = make_accounts(jit)
    queues = make_queues(jit, accounts)
    trading = make_trading(jit, accounts, queues)
    matching = compose_matching(jit, queues, trading)
    equilibrium, uncross = make_auction(jit, queues, trading)
    check_form, check_rules, check_account, in_cage = make_admission(jit, accounts, queues, trading)
    find, find_owned, in_ladder = queues.find, queues.find_owned, queues.in_ladder
    park, reduce, add = queues.park, queues.reduce, queues.add
    carry_out, collect, clear, close = matching.carry_out, matching.collect, matching.clear, matching.close
    match = trading.match

    @jit
    def phase_column(book, phase, column):
        return book[book[t.PHASES_AT] + phase * t.NUM_PHASE_COLUMNS + column]

    @jit
    def mode_in_force(book):
        if book[t.HALTED_UNTIL] > 0:
            return book[RULES + t.HALT_MODE]
        return phase_column(book, book[t.PHASE], t.PHASE_MODE)

    @jit
    def halt_if_volatile(book):
        """Interrupt trading if the last trade strayed too far from the reference price."""
        rate, window = book[RULES + t.HALT_RATE_1], book[RULES + t.HALT_WINDOW]
        if rate == 0:
            return
        time, price = book[t.CLOCK], book[t.LAST_PRICE]
        if window > 0:
            if time >= book[t.WINDOW_START] + window:
                if book[t.WINDOW_COUNT] > 0:
                    book[t.REFERENCE_PRICE] = book[t.WINDOW_SUM] // book[t.WINDOW_COUNT]
                book[t.WINDOW_START] = time
                book[t.WINDOW_SUM] = 0
                book[t.WINDOW_COUNT] = 0
            reference = book[t.REFERENCE_PRICE]
        else:
            reference = book[t.OPEN_PRICE]
            if book[t.NUM_HALTS] > 0:
                rate = book[RULES + t.HALT_RATE_2] if book[t.NUM_HALTS] == 1 else 0
        end = time + book[RULES + t.HALT_DURATION]
        if book[RULES + t.HALT_LATEST] > 0:
            end = lesser(end, book[RULES + t.HALT_LATEST])
        strays = abs(price - reference) * MILLION >= reference * rate
        if rate > 0 and reference > 0 and strays and end > time:
            book[t.NUM_HALTS] += 1
            book[t.HALTED_UNTIL] = end
            # After the interruption the reference is found anew.
            book[t.REFERENCE_PRICE] = 0
            book[t.WINDOW_SUM] = 0
            book[t.WINDOW_COUNT] = 0
        elif window > 0:
            book[t.WINDOW_SUM] += price
            book[t.WINDOW_COUNT] += 1

    @jit
    def next_released(book):
        """The oldest order held aside that may enter now, or NO_SLOT."""
        slot = book[t.FIRST_PARKED]
        if book[RULES + t.CAGE_PARKS] != 0:
            while slot != NO_SLOT and not in_cage(book, book[slot + t.SIDE], book[slot + t.PRICE]):
                slot = book[slot + NEXT]
        return slot

    @jit
    def release(book, trades):
        """Let the orders held aside enter, oldest first, as long as trading goes on and one may."""
        while book[t.NUM_PARKED] > 0 and mode_in_force(book) == t.CONTINUOUS:
            slot = next_released(book)
            if slot == NO_SLOT:
                return
            side, price, size = book[slot + t.SIDE], book[slot + t.PRICE], book[slot + t.SIZE]
            order_id, owner = book[slot + t.ORDER_ID], book[slot + t.OWNER]
            reduce(book, slot, size)
            filled, _, fills, _, cancelled, _ = match(book, side, price, size, order_id, owner, trades)
            left = size - filled - cancelled
            if left > 0:
                add(book, side, price, left, order_id, owner)
            if fills > 0:
                halt_if_volatile(book)

    @jit
    def take_effect(book, trades):
        """What follows when a phase starts or a halt ends."""
        if book[t.HALTED_UNTIL] > 0:
            return
        if mode_in_force(book) != t.CALL:
            uncross(book, trades)
        release(book, trades)

    @jit
    def advance(book, time, trades):
        while True:
            halt_end = book[t.HALTED_UNTIL] if book[t.HALTED_UNTIL] > 0 else t.FOREVER
            following = book[t.PHASE] + 1
            start = phase_column(book, following, t.PHASE_START) if following < book[t.NUM_PHASES] else t.FOREVER
            event = lesser(halt_end, start)
            if event > time or event == t.FOREVER:
                break
            book[t.CLOCK] = greater(book[t.CLOCK], event)
            if halt_end <= start:
                book[t.HALTED_UNTIL] = 0
            else:
                book[t.PHASE] = following
            take_effect(book, trades)
        book[t.CLOCK] = greater(book[t.CLOCK], time)

    @jit
    def instruct(book, kind, trades):
        """HALT or RESUME."""
        if kind == t.HALT:
            book[t.HALTED_UNTIL] = t.FOREVER
        else:
            book[t.HALTED_UNTIL] = 0
            take_effect(book, trades)

    @jit
    def hold_aside(book, side, price, size, order_id, owner, report):
        if not in_ladder(book, price):
            return t.BAD_PRICE
        if find(book, order_id) != NO_SLOT:
            return t.DUPLICATE_ID
        if book[t.FREE_SLOT] == NO_SLOT:
            return t.BOOK_FULL
        park(book, side, price, size, order_id, owner)
        report[t.PARKED] = size
        report[t.ACTED_PRICE] = price
        return t.ACCEPTED

    @jit
    def process(book, kind, side, price, size, order_id, owner, queue_rule, report, trades):
        """Check an order and carry it out, in the mode in force; return its outcome."""
        outcome = check_form(kind, side, size)
        if outcome != t.ACCEPTED:
            return outcome
        halted, mode = book[t.HALTED_UNTIL] > 0, mode_in_force(book)
        if mode == t.SHUT:
            return t.HALTED if halted else t.CLOSED
        cancels = kind in (t.CANCEL, t.CANCEL_AT)
        if (cancels or kind == t.REPLACE) and not halted and phase_column(book, book[t.PHASE], t.PHASE_CANCELS) == 0:
            return t.NO_CANCEL
        if not cancels:
            outcome = check_rules(book, kind, side, price, size, order_id, owner, mode)
            if outcome == t.ACCEPTED:
                outcome = check_account(book, kind, side, price, size, order_id, owner)
            if outcome != t.ACCEPTED:
                return outcome
        if cancels or mode == t.CONTINUOUS:
            parks = kind == t.LIMIT and book[RULES + t.CAGE_PARKS] != 0 and mode == t.CONTINUOUS
            if parks and not in_cage(book, side, price):
                return hold_aside(book, side, price, size, order_id, owner, report)
            return carry_out(book, kind, side, price, size, order_id, owner, queue_rule, report, trades)
        if mode == t.QUEUE:
            return hold_aside(book, side, price, size, order_id, owner, report)
        return collect(book, kind, side, price, size, order_id, owner, report, trades)

    @jit
    def submit_ruled(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades):
        advance(book, time, trades)
        if kind == t.IDLE:
            return
        if kind in (t.HALT, t.RESUME):
            instruct(book, kind, trades)
            close(book, t.ACCEPTED, report)
            return
        outcome = process(book, kind, side, price, size, order_id, owner, queue_rule, report, trades)
        close(book, outcome, report)
        if outcome == t.ACCEPTED and mode_in_force(book) == t.CONTINUOUS:
            if report[t.NUM_FILLS] > 0:
                halt_if_volatile(book)
            release(book, trades)

    @jit
    def submit_free(book, kind, side, price, size, order_id, owner, queue_rule, report, trades):
        """Without rules: only accounts are checked."""
        if kind == t.IDLE:
            return
        outcome = t.ACCEPTED
        if book[t.NUM_ACCOUNTS] > 0 and kind != t.CANCEL and kind != t.CANCEL_AT:
            outcome = check_form(kind, side, size)
            # What is wrong with the order to replace, the matching core says.
            replaceable = kind != t.REPLACE or find_owned(book, order_id, owner)[0] == t.ACCEPTED
            if outcome == t.ACCEPTED and replaceable:
                outcome = check_account(book, kind, side, price, size, order_id, owner)
        if outcome == t.ACCEPTED:
            outcome = carry_out(book, kind, side, price, size, order_id, owner, queue_rule, report, trades)
        close(book, outcome, report)

    @jit
    def submit(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades):
        clear(book, report)
        if book[RULES + t.ENFORCED] == 0:
            submit_free(book, kind, side, price, size, order_id, owner, queue_rule, report, trades)
        else:
            submit_ruled(book, kind, side, price, size, order_id, owner, time, queue_rule, report, trades)

    return Venue(matching, trading, queues, submit, advance, equilibrium)
