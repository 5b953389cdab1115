"""The columns of the engine's integer arrays, and the reasons for which a rollout ends."""

from mars_lmm.market import types as t
from mars_lmm.tokenizers import observation as o

# Why a rollout ended.
RUNNING = 0
HORIZON = 1  # its time is over
SESSION_END = 2  # the venue has closed
MAX_ORDERS = 3  # it made as many orders as it may
BOOK_FULL = 4  # the book has no room for another order
EMPTY_SIDE = 5  # a side of the book stayed empty for too long
PRICE_LIMIT = 6  # the market stands at a price limit of the day
NOT_FINITE = 7  # the model's state holds infinite or undefined numbers
REFUSED = 8  # the exchange rejected too many of the model's orders in a row
QUEUE_FULL = 9  # an agent has more orders under way than its queue holds
OPEN_ORDERS = 10  # an agent has more orders in the book than it can keep track of
ENDS = (
    "running",
    "horizon",
    "session_end",
    "max_orders",
    "book_full",
    "empty_side",
    "price_limit",
    "not_finite",
    "refused",
    "queue_full",
    "open_orders",
)
PLANNED_ENDS = ("horizon", "session_end")

# Columns of a rollout's progress, int64[B, NUM_PROGRESS].
ROLLOUT = 0  # the rollout's identity; with the seed it decides all random numbers
PROPOSALS = 1  # how often the model was asked; numbers its random draws
PROPOSED = 2  # 1: the model's proposal stands, 0: it is asked again
NEXT_TIME = 3  # when the proposed order comes
NEXT_TOKEN = 4
NEXT_ID = 5  # the id of the model's next order
END_TIME = 6  # the rollout's last moment, included
END = 7  # why it ended
END_AT = 8  # when
ORDERS = 9  # accepted orders so far, of everybody
ORDER_LIMIT = 10
IN_A_ROW = 11  # orders of the model that were rejected since the last accepted one
EMPTY_SINCE = 12  # open time at which a side became empty; NEVER while both have orders
SOURCE = 13  # who sent the order of the last step: NOBODY, MODEL, or an agent's number
FILLS = 14  # rows of the fills that are used
FILLS_LOST = 15  # fills of agents that found no row; at most as many, where trades found none either
BEGIN_TIME = 16
NOT_BEFORE = 17  # the model's order comes no earlier: it began or parted, an agent acted, or a phase began, then
TRIES = 18  # proposals in a row that would have come before
UNITS_NOTED = 19  # of agents' fills so far, those without a row included
NUM_PROGRESS = 20

MAX_TRIES = 64  # proposals in a row; then the last one comes at NOT_BEFORE

NEVER = t.FOREVER
NOBODY, MODEL = -1, 0  # agents count from 1, as owners do

# Columns of an agent's desk, int64[B, A, NUM_DESK].
WAKE = 0  # market time at which it decides next; NEVER: not any more
ON_ORDER = 1  # 1: it also decides after the next order of anybody else
FIRST, COUNT = 2, 3  # the orders under way: a ring
SENT = 4  # orders so far; numbers their ids
LAST_ARRIVAL = 5
DUE = 6  # 1: it decides in this step
DECISIONS = 7  # so far; numbers its random draws
NUM_DESK = 8

# Columns of an order under way, int64[NUM_QUEUED]: an order row, and
ARRIVAL = t.NUM_ORDER_COLUMNS  # when it reaches the exchange
FLAGS = ARRIVAL + 1
NUM_QUEUED = FLAGS + 1
# Flags of an order under way.
RECORDED = 1  # of a recorded session: its id, owner and time stand, and nothing delays it
ANONYMOUS = 2  # volume that is nobody's order: it changes the book and is not observed
COLLECTED = 4  # collected by a call auction that the book's own schedule does not tell
BACKGROUND = 8  # of the background order flow, as the model's are: its owner is nobody, and it pays no account

# Columns of an agent's own order in the book, int64[NUM_OWN].
OWN_ID, OWN_SIDE, OWN_PRICE, OWN_SIZE = range(4)
NUM_OWN = 4

# Columns of a recorded row: the tape, and
ROW_SOURCE = o.NUM_TAPE  # NOBODY: this book executed no order in this step
ROW_ORDER_ID = ROW_SOURCE + 1
NUM_ROW = ROW_ORDER_ID + 1

# Columns of a fill of an agent's.
FILL_COLUMNS = ("time", "agent", "side", "price", "size", "order_id", "taker")
NUM_FILL = len(FILL_COLUMNS)

# Simulated orders get ids from here on; no venue's ids come near. Agents are 2**40 orders apart.
FIRST_SIMULATED_ID = 1 << 48
FIRST_AGENT_ID = 1 << 49
IDS_OF_AGENT = 40


def agent_order_id(agent: int, number: int) -> int:
    """The id of an agent's order, by the agent's place among the seats and the order's number among its own."""
    return FIRST_AGENT_ID + (agent << IDS_OF_AGENT) + number
