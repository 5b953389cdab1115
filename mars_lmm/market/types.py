"""The market's words as integers: sides, order kinds, outcomes, and the columns of its integer arrays.

Prices are ticks, sizes are units, times are nanoseconds since midnight, identifiers are 64-bit integers, and
cash counts ticks times units. There are no floats on this floor.
"""

# Sides index arrays, so they are 0 and 1.
SELL, BUY = 0, 1
NO_SIDE = -1  # of an auction's trades: neither order came first

# Order kinds.
LIMIT = 0  # rests what does not fill
MARKET = 1  # fills what it can at any price; the remainder is dropped
CANCEL = 2  # reduce one order by its id; a size of 0 means all that is left
CANCEL_AT = 3  # reduce resting volume at the occupied price nearest to the given one
IOC = 4  # immediate or cancel: fills what it can up to its price; the remainder is dropped
FOK = 5  # fill or kill: fills whole up to its price, or is rejected
POST_ONLY = 6  # a limit order that is rejected if it would trade
REPLACE = 7  # give a resting order another price or size
MARKET_FOK = 8  # fills whole at any price, or is rejected
BEST_FIVE = 9  # fills within the other side's best five prices; the remainder is dropped
BEST_FIVE_LIMIT = 10  # the same, but the remainder rests at the price of the last fill
OPPOSITE_BEST = 11  # a limit order at the other side's best price
OWN_BEST = 12  # a limit order at its own side's best price
HALT = 13  # the venue stops trading
RESUME = 14  # the venue takes trading up again
NUM_KINDS = 15
IDLE = -1  # no order: in lockstep, this book sits the step out
KINDS = (
    "limit",
    "market",
    "cancel",
    "cancel_at",
    "ioc",
    "fok",
    "post_only",
    "replace",
    "market_fok",
    "best_five",
    "best_five_limit",
    "opposite_best",
    "own_best",
    "halt",
    "resume",
)

# Columns of an order row, int64[NUM_ORDER_COLUMNS].
KIND, SIDE, PRICE, SIZE, ORDER_ID, OWNER = range(6)
NUM_ORDER_COLUMNS = 6

# The largest size and price of an order. 32-bit columns hold them, and no sum or product overflows 64 bits.
MAX_SIZE = MAX_PRICE = 2**31 - 1

# Outcomes of an order. All but ACCEPTED leave the book as it was.
ACCEPTED = 0
BAD_KIND = 1
BAD_SIDE = 2
BAD_SIZE = 3  # not positive, or above MAX_SIZE
BAD_PRICE = 4  # outside the book's price ladder
DUPLICATE_ID = 5
BOOK_FULL = 6
UNKNOWN_ID = 7
NOTHING_TO_CANCEL = 8  # the owner has nothing resting on that side
NO_LIQUIDITY = 9  # met nothing to trade with, or no price to rest at
UNFILLABLE = 10  # a fill-or-kill order that would not fill whole
WOULD_TRADE = 11  # a post-only order that would trade
NOT_OWNER = 12  # the order to cancel or replace is somebody else's
CLOSED = 13  # the session takes no orders now
HALTED = 14  # trading is halted and takes no orders
NO_CANCEL = 15  # the auction's last minutes take no cancels
KIND_NOT_TAKEN = 16  # the venue, or its session now, does not take this kind
OFF_TICK = 17  # the price is not a multiple of the tick
TOO_LARGE = 18  # above the venue's largest order
BAD_LOT = 19  # not a multiple of the lot, or below the smallest order
PRICE_LIMIT = 20  # beyond the day's price limits
PRICE_CAGE = 21  # too far from the market
NO_ACCOUNT = 22  # the owner has no account
NO_CASH = 23  # the account cannot pay for it
NO_POSITION = 24  # the account does not hold it, or may not sell it today
OUTCOMES = (
    "accepted",
    "bad_kind",
    "bad_side",
    "bad_size",
    "bad_price",
    "duplicate_id",
    "book_full",
    "unknown_id",
    "nothing_to_cancel",
    "no_liquidity",
    "unfillable",
    "would_trade",
    "not_owner",
    "closed",
    "halted",
    "no_cancel",
    "kind_not_taken",
    "off_tick",
    "too_large",
    "bad_lot",
    "price_limit",
    "price_cage",
    "no_account",
    "no_cash",
    "no_position",
)

# Columns of a report row, int64[NUM_REPORT_COLUMNS]: what became of an order.
OUTCOME = 0
FILLED = 1  # size executed on arrival
RESTING = 2  # size of the order that is left in the book
CANCELLED = 3  # size removed by a cancel or replace, or dropped from an order that does not rest
ACTED_PRICE = 4  # price of the last fill, else where it rests or where the cancel acted; NO_PRICE if none
FILL_VALUE = 5  # sum of price * size over the fills
NUM_FILLS = 6  # how many resting orders it traded with
PARKED = 7  # size held aside until trading, or the price cage, lets it in
PREVENTED = 8  # size of the owner's own resting orders that gave way instead of trading with it
NUM_REPORT_COLUMNS = 9

# Columns of a trade row, int64[NUM_TRADE_COLUMNS]. In an auction the seller is "resting", the buyer "incoming".
TRADE_PRICE, TRADE_SIZE, RESTING_ID, RESTING_OWNER, INCOMING_ID, INCOMING_OWNER, INCOMING_SIDE = range(7)
NUM_TRADE_COLUMNS = 7

# A book is one row of memory, int64[N]: the columns below, its rules, and sections whose places the columns tell
# (`mars_lmm.market.book`). Two columns a side: `BEST_PRICE + side`.
OPEN_PRICE = 0  # price of the first trade; 0 before it
LAST_PRICE = 1  # price of the last trade; 0 before the first
VOLUME = 2  # size traded
NUM_TRADES = 3
TRADES_DROPPED = 4  # trades that found no row in `trades`; they happened all the same
NUM_PARKED, FIRST_PARKED, LAST_PARKED = 5, 6, 7  # the orders held aside, oldest first
CLOCK = 8  # time of the last message
PHASE = 9  # row of the session's schedule
HALTED_UNTIL = 10  # 0 while trading; FOREVER when only RESUME ends the halt
NUM_HALTS = 11  # volatility interruptions of the day
REFERENCE_PRICE = 12  # volatility interruptions: the mean price of the last whole window; 0 before it
WINDOW_START, WINDOW_SUM, WINDOW_COUNT = 13, 14, 15  # and of the window under way
NUM_SLOTS, NUM_PHASES = 16, 17  # sizes of sections
PHASES_AT, ACCOUNTS_AT = 18, 19  # where sections begin
# From here to ACCEPTED's count is what every order touches: neighbours in memory, for the sake of speed.
NUM_TICKS, NUM_ROWS, NUM_ACCOUNTS = 20, 21, 22
LEVELS_AT = 23  # where the level of price 0 would be, a side
OCCUPIED_AT = 25  # where the bitmap begins, a side
INDEX_AT = 27
BASE_PRICE = 28  # the ladder's lowest price
BEST_PRICE = 29  # NO_PRICE while the side is empty
NUM_LEVELS = 31  # occupied prices of the side
LIVE_ORDERS = 33  # resting and parked
FREE_SLOT = 34  # head of the list of free order slots
TRADE_ROWS = 35  # rows of `trades` that the last call used
CHANGED = 36  # the best price whose volume changed since the last refresh of a snapshot, a side
OUTCOME_COUNTS = 38  # orders by outcome: `OUTCOME_COUNTS + outcome`
NUM_HEADER_COLUMNS = OUTCOME_COUNTS + len(OUTCOMES)

FOREVER = 2**62

# Columns of a day's rules, int64[NUM_RULE_COLUMNS]; `mars_lmm.market.rules` fills them. In a book they follow the
# header: `RULES + column`.
# Rates are in millionths. A zero means "no such rule" unless said otherwise.
RULES = NUM_HEADER_COLUMNS
ENFORCED = 0  # 0: no rule binds, and orders go straight to the matching core
KINDS_TAKEN = 1  # bitmap of the order kinds that the venue takes
TICK = 2  # prices are multiples of it
LOT = 3  # sizes are multiples of it
MIN_ORDER = 4  # the smallest order
ODD_LOT_SELLS = 5  # 1: what an account holds beyond whole lots may be sold, in one go
MAX_LIMIT_ORDER, MAX_MARKET_ORDER = 6, 7  # the largest orders
PREVIOUS_CLOSE = 8  # 0 when unknown
LIMIT_DOWN, LIMIT_UP = 9, 10  # the day's lowest and highest price; 0 and MAX_PRICE when there is none
MARKET_NEEDS_LIMITS = 11  # 1: market kinds only while the day has price limits
CAGE_RATE, CAGE_TICKS = 12, 13  # an order's price may be so far from the market, whichever is wider
CAGE_PARKS = 14  # 1: an order outside the cage is held aside; 0: rejected
AUCTION_TIE = 15  # MIDDLE or NEAREST
AUCTION_AT_ORDERS = 16  # 1: an auction's price is one that an order names; 0: any price of the ladder
HALT_RATE_1, HALT_RATE_2 = 17, 18  # a trade so far from the reference halts trading: the first time, the second
HALT_DURATION = 19
HALT_LATEST = 20  # a volatility interruption ends here at the latest; 0: no such time
HALT_WINDOW = 21  # 0: the reference is the day's first trade; else the mean price of windows so long
HALT_MODE = 22  # what a halted book does: SHUT or CALL
SELF_TRADE = 23  # what happens when an owner would trade with itself
MAKER_FEE, TAKER_FEE = 24, 25  # of the traded value; negative is a rebate
MAKER_FEE_PER_UNIT, TAKER_FEE_PER_UNIT = 26, 27  # millionths of a tick for each unit traded
SELL_DUTY = 28  # of the traded value, from the seller
SETTLEMENT_DAYS = 29  # 1: what is bought today can be sold tomorrow (T+1)
SHORT_SALES = 30  # 1: accounts may sell what they do not hold
CREDIT = 31  # 1: accounts may spend what they do not have
NUM_RULE_COLUMNS = 32

# Who gives way when an owner's order meets a resting one of its own.
ALLOW, CANCEL_INCOMING, CANCEL_RESTING, CANCEL_BOTH, DECREMENT = range(5)

# Between auction prices that trade as much and leave as little over.
MIDDLE = 0  # halfway between the lowest and the highest, half up
NEAREST = 1  # nearest to the last trade, before the first one to the previous close

# Columns of a session's schedule, int64[K, NUM_PHASE_COLUMNS], a row a phase, by time.
PHASE_START, PHASE_MODE, PHASE_CANCELS = range(3)
NUM_PHASE_COLUMNS = 3

# What a phase does with orders.
SHUT = 0  # takes none
CONTINUOUS = 1  # trades
CALL = 2  # collects them; trades them in one auction when it ends
QUEUE = 3  # holds them aside; they enter one by one when trading begins

# Columns of an account, int64[NUM_ACCOUNT_COLUMNS].
CASH = 0
POSITION = 1
SELLABLE = 2  # the part of the position that may be sold today
RESERVED_CASH = 3  # what the account's buy orders in the book may cost
RESERVED_SIZE = 4  # the size of its sell orders in the book
FEES_PAID = 5
# Traded so far, in units and in ticks times units.
BOUGHT, BOUGHT_VALUE = 6, 7
SOLD, SOLD_VALUE = 8, 9
NUM_ACCOUNT_COLUMNS = 10

# A price that is not there: an empty side, a missing level.
NO_PRICE = -1

# What CANCEL_AT takes of a price's queue: its size from one end on, or the whole of one order, the one whose size is
# nearest to its own (of equals the newest).
OLDEST_FIRST, NEWEST_FIRST, CLOSEST_SIZE = 0, 1, 2

# The owner of the background order flow; agents use larger numbers.
BACKGROUND = 0

# Levels a side that a snapshot shows.
DEPTH = 10
