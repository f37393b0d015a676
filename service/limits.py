"""The limits of requests and answers; those of quotas, identity and overload stand with them.

Sizes are in bytes, times in the unit of their name.
"""

LINES_MAX = 10_000  # lines of a request
SKU_BYTES_MAX = 128  # UTF-8
UOM_BYTES_MAX = 32  # UTF-8
FIELD_BYTES_MAX = 128  # customer id, branch, ship-to, reservation, who resets a feed, UTF-8
BRANCHES_MAX = 1_000  # branches of a request
PAIRS_MAX = 100_000  # lines times branches of a request
PROJECTED_PAIRS_MAX = 10_000  # pairs of a request that asks for projected availability
EXPLAINED_PAIRS_MAX = 100  # pairs of a request that asks for explanations
EVENTS_MAX = 5_000  # events of one PublishEvents message
EVENT_OVERHEAD_BYTES_MAX = 128  # tags, lengths and numbers of one encoded event
UNREADABLE_BYTES_MAX = 65_536  # kept of the text of an event that its sender could not read, UTF-8
UNREADABLE_DETAIL_BYTES_MAX = 1_024  # kept of the sender's description of what is wrong with it, UTF-8
# How far in the future an event may take effect: clocks and time zones differ.
EVENT_AHEAD_US = 24 * 3_600_000_000
DEAD_LETTERS_MAX = 10_000  # dead letters kept; one request can drop them all
DEAD_LETTER_BYTES_MAX = 32 * 1024 * 1024  # total size of the dead letters kept
LIST_BYTES_MAX = 8 * 1024 * 1024  # dead letters of one response, unless it has only one
GAP_SPANS_MAX = 100  # ranges of missing sequence numbers listed per stream
DEAD_LETTER_IDS_MAX = 1_000  # dead letter ids in one PublishEvents response
RESERVE_LINES_MAX = 1_000  # lines of one reservation
TTL_MS_DEFAULT = 900_000  # lifetime of a reservation whose request names none
TTL_MS_MIN = 1_000
TTL_MS_MAX = 30 * 86_400_000
LIST_DEFAULT = 1_000  # dead letters or reservations in a response when the request names no limit
LIST_MAX = 10_000
IDS_MAX = 10_000  # dead letter ids in one request
CORRELATION_ID_MAX = 128  # printable ASCII characters
RECEIVE_BYTES_MAX = 4 * 1024 * 1024  # one request message
SEND_BYTES_MAX = 64 * 1024 * 1024  # one response message
LINE_OVERHEAD_BYTES_MAX = 24  # tags, lengths and quantity of one encoded line

WORKER_THREADS = 8  # measured: 2 to 16 threads perform alike, one is slower
IN_FLIGHT_MAX = 256  # requests of one worker that may wait for a thread; beyond, requests are refused
MUTATION_THREADS = 8  # threads of a worker that wait for the writer; none of them serves reads
PUBLISH_STREAMS_MAX = 8  # concurrent PublishEvents streams of one worker
WATCHES_MAX = 32  # concurrent WatchAvailability streams of one worker
SPARE_THREADS = 2  # threads beyond those limits, to refuse more streams
WATCH_PAIRS_MAX = 1_000  # lines times branches of a watch
HEARTBEAT_MS_DEFAULT = 15_000  # interval of messages on a watch without changes
HEARTBEAT_MS_MIN = 1_000
HEARTBEAT_MS_MAX = 300_000
CHANGE_POLL_S = 0.05  # how often a worker checks positions for changes while there are watches
# How long a watch pauses, as a multiple of the time its last check took: all watches together take half a core.
WATCH_PAUSE_FACTOR = 2 * WATCHES_MAX
KEEPALIVE_MS = 30_000  # how long a connection is idle before it is pinged
KEEPALIVE_TIMEOUT_MS = 10_000
WRITER_THREADS = 16  # threads of the writer process
WRITER_TIMEOUT_S = 30.0  # how long a worker waits for the writer, even if its caller would wait longer
LIVE_PAIRS = 1 << 14  # initial capacity of live positions in pairs; doubles when it is full
LIVE_WORDS = 1 << 19  # initial capacity of their lists in 8-byte words
STREAM_ENTRIES_MAX = 1_000  # entries of an event stream ingested at a time
STREAM_WAIT_S = 0.5  # wait for new entries; closing takes at most as long
STREAM_RETRY_S = 0.5  # pause after the stream could not be read or its events not be stored
STANDBY_S = 0.2  # how often a standby writer tries to lock the store
FOLLOW_S = 0.02  # how often the writer reads the changes of other hosts
EXPIRE_S = 1.0  # how often expired reservations are ended; readers don't depend on it
FORGET_S = 5.0  # how often reservations that ended long ago are forgotten
FORGET_MAX = 200  # reservations forgotten at a time: the writer must not be blocked for long
ENDED_KEPT_US = 30 * 86_400_000_000  # how long an ended reservation and its idempotency key are kept
COMMIT_TRIES_MAX = 16  # attempts of a commit that conflicts with other servers, before the caller is refused
FOLLOW_CHANGES_MAX = 500  # changes of the cache ingested at a time
PUSHBACK_MS = 250  # when a refused caller should retry

KEPT_SNAPSHOTS_MAX = 2  # snapshots mapped besides the active one, for `snapshot_version` in requests
POLL_S = 0.2  # how often the store is checked for a new active snapshot
CHECK_NICENESS = 10  # of the thread that verifies a new snapshot: answering requests comes first
HOUSEKEEPING_S = 0.1  # how often a worker checks for commands and for maps to release
GRACE_S = 10.0  # how long requests in flight may take when the server stops
RESTART_DELAY_S = 0.2  # before a dead process is restarted; doubles with each death in a row
RESTART_DELAY_MAX_S = 5.0
SWAP_RETRY_S = 5.0  # before a process that failed to swap retries; doubles with each failure in a row
SWAP_RETRY_MAX_S = 60.0
REFUSED_RETRY_S = 1.0  # before a refused snapshot is checked again; doubles with each refusal in a row
REFUSED_RETRY_MAX_S = 30.0
FOLLOW_POLL_S = 2.0  # how often object storage is asked for another snapshot, a quarter more or less
FOLLOW_LOG_S = 60.0  # how often a server says that it gets no snapshot from there
FOLLOW_KEEP = 5  # snapshots that a following store keeps, beside the active one if that is older
LIVE_LOOK_S = 0.05  # how often a worker reads which live file is announced
LIVE_CHECK_S = 1.0  # how often a writer checks that its live file is still in place
BEAT_S = 0.2  # interval of heartbeats of a process
# Live state is STALE when its writer has been silent for this long, or when the reader has not checked for this long.
SILENCE_S = 2.0
STALL_S = 5.0  # a loop that has not turned for this long hangs
HANG_S = 10.0  # a process that has been silent for this long is killed and replaced
START_HANG_S = 120.0  # the same for a process that has just been started and was never heard
HEALTHY_AFTER_S = 30.0  # a process that has lived this long starts again with a clean record

if RECEIVE_BYTES_MAX < LINES_MAX * (SKU_BYTES_MAX + UOM_BYTES_MAX + LINE_OVERHEAD_BYTES_MAX):
    raise AssertionError("a request within the line limits must fit into a message")
if RECEIVE_BYTES_MAX < EVENTS_MAX * (SKU_BYTES_MAX + 4 * FIELD_BYTES_MAX + EVENT_OVERHEAD_BYTES_MAX):
    raise AssertionError("events within their limits must fit into a message")
