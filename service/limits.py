"""Every limit of the service, in one place. Sizes in bytes, times in the unit of their name."""

LINES_MAX = 10_000  # lines of a request
SKU_BYTES_MAX = 128  # UTF-8
UOM_BYTES_MAX = 32  # UTF-8
FIELD_BYTES_MAX = 128  # customer id, branch, ship-to, reservation, UTF-8
BRANCHES_MAX = 1_000  # named in a request
PAIRS_MAX = 100_000  # lines times branches of a request
PROJECTED_PAIRS_MAX = 10_000  # of those that say how figures go on from day to day
EXPLAINED_PAIRS_MAX = 100  # of those that explain themselves
EVENTS_MAX = 5_000  # of one message of PublishEvents
EVENT_OVERHEAD_BYTES_MAX = 128  # tags, lengths and numbers of one event on the wire
UNREADABLE_BYTES_MAX = 65_536  # kept of the text of an event that its sender could not read, UTF-8
UNREADABLE_DETAIL_BYTES_MAX = 1_024  # kept of what the sender found wrong with it, UTF-8
CORRELATION_ID_MAX = 128  # printable ASCII
RECEIVE_BYTES_MAX = 4 * 1024 * 1024  # one request message
SEND_BYTES_MAX = 64 * 1024 * 1024  # one answer message
LINE_OVERHEAD_BYTES_MAX = 24  # tags, lengths and quantity of one line on the wire

WORKER_THREADS = 8  # performance: between 2 and 16 threads nothing changes, one is slower
IN_FLIGHT_MAX = 256  # requests that wait for a thread of one worker before the next is sent away
PUSHBACK_MS = 250  # when one sent away should ask again

KEPT_SNAPSHOTS_MAX = 2  # snapshots mapped beside the active one, for `snapshot_version` in requests
POLL_S = 0.2  # how often the store is looked at for a new active snapshot
HOUSEKEEPING_S = 0.1  # how often a worker looks for commands and for maps to let go
GRACE_S = 10.0  # what a request in flight gets to end when the server stops
RESTART_DELAY_S = 0.2  # before a dead worker is started again; doubles with each death in a row
RESTART_DELAY_MAX_S = 5.0
SWAP_RETRY_S = 5.0  # before a worker that failed to swap is told again
HEALTHY_AFTER_S = 30.0  # a worker that lived as long starts with a clean record

if RECEIVE_BYTES_MAX < LINES_MAX * (SKU_BYTES_MAX + UOM_BYTES_MAX + LINE_OVERHEAD_BYTES_MAX):
    raise AssertionError("a request within the line limits must fit into a message")
if RECEIVE_BYTES_MAX < EVENTS_MAX * (SKU_BYTES_MAX + 3 * FIELD_BYTES_MAX + EVENT_OVERHEAD_BYTES_MAX):
    raise AssertionError("events within their limits must fit into a message")
