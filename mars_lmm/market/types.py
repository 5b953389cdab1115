"""The market's words as integers: sides, order kinds, outcomes, and the columns of its integer arrays.

Prices are ticks, sizes are units, identifiers are 64-bit integers. There are no floats on this floor.
"""

# Sides index arrays, so they are 0 and 1.
SELL, BUY = 0, 1

# Order kinds.
LIMIT = 0  # rests what does not fill
MARKET = 1  # fills what it can at any price; the remainder is dropped
CANCEL = 2  # reduce one order by its id; a size of 0 means all that is left
CANCEL_AT = 3  # reduce resting volume at the occupied price nearest to the given one
IOC = 4  # immediate or cancel: fills what it can up to its price; the remainder is dropped
IDLE = -1  # no order: in lockstep, this book sits the step out

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
NO_LIQUIDITY = 9  # a market or IOC order met nothing to trade with
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
)

# Columns of a report row, int64[NUM_REPORT_COLUMNS]: what became of an order.
OUTCOME = 0
FILLED = 1  # size executed on arrival
RESTING = 2  # size of a limit order that is left in the book
CANCELLED = 3  # size removed by a cancel, or dropped from a market or IOC order
ACTED_PRICE = 4  # price of the last fill, else where it rests or where the cancel acted; NO_PRICE if none
FILL_VALUE = 5  # sum of price * size over the fills
NUM_FILLS = 6  # how many resting orders it traded with
NUM_REPORT_COLUMNS = 7

# Columns of a trade row, int64[NUM_TRADE_COLUMNS].
TRADE_PRICE, TRADE_SIZE, RESTING_ID, RESTING_OWNER, INCOMING_ID, INCOMING_OWNER, INCOMING_SIDE = range(7)
NUM_TRADE_COLUMNS = 7

# Columns of a book's header, int64[NUM_HEADER_COLUMNS]. Two columns a side: `BEST_PRICE + side`.
BASE_PRICE = 0  # the ladder's lowest price
BEST_PRICE = 1  # NO_PRICE while the side is empty
NUM_LEVELS = 3  # occupied prices of the side
LIVE_ORDERS = 5
FREE_SLOT = 6  # head of the list of free order slots
OPEN_PRICE = 7  # price of the first trade; 0 before it
LAST_PRICE = 8  # price of the last trade; 0 before the first
VOLUME = 9  # size traded
NUM_TRADES = 10
TRADES_DROPPED = 11  # trades that found no row in `trades`; they happened all the same
OUTCOME_COUNTS = 12  # orders by outcome: `OUTCOME_COUNTS + outcome`
NUM_HEADER_COLUMNS = OUTCOME_COUNTS + len(OUTCOMES)

# A price that is not there: an empty side, a missing level.
NO_PRICE = -1

# Which end of a price's queue CANCEL_AT takes first.
OLDEST_FIRST, NEWEST_FIRST = 0, 1

# The owner of the background order flow; agents use larger numbers.
BACKGROUND = 0

# Levels a side that a snapshot shows.
DEPTH = 10
