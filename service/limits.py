"""Every limit of the service, in one place. Sizes in bytes, times in the unit of their name."""

LINES_MAX = 10_000  # lines of a request
SKU_BYTES_MAX = 128  # UTF-8
UOM_BYTES_MAX = 32  # UTF-8
FIELD_BYTES_MAX = 128  # customer id, branch, ship-to, reservation, who resets a feed, UTF-8
BRANCHES_MAX = 1_000  # named in a request
PAIRS_MAX = 100_000  # lines times branches of a request
PROJECTED_PAIRS_MAX = 10_000  # of those that say how figures go on from day to day
EXPLAINED_PAIRS_MAX = 100  # of those that explain themselves
EVENTS_MAX = 5_000  # of one message of PublishEvents
EVENT_OVERHEAD_BYTES_MAX = 128  # tags, lengths and numbers of one event on the wire
UNREADABLE_BYTES_MAX = 65_536  # kept of the text of an event that its sender could not read, UTF-8
UNREADABLE_DETAIL_BYTES_MAX = 1_024  # kept of what the sender found wrong with it, UTF-8
EVENT_AHEAD_US = 24 * 3_600_000_000  # an event may take effect so long after now: clocks and zones differ
DEAD_LETTERS_MAX = 10_000  # kept: no more than one request can drop
DEAD_LETTER_BYTES_MAX = 32 * 1024 * 1024  # of all that are kept
LIST_BYTES_MAX = 8 * 1024 * 1024  # of the dead letters of one answer, if more than one
GAP_SPANS_MAX = 100  # runs of missing numbers named of one stream
DEAD_LETTER_IDS_MAX = 1_000  # named in one answer of PublishEvents
RESERVE_LINES_MAX = 1_000  # of one reservation
TTL_MS_DEFAULT = 900_000  # a reservation of which nothing else is said
TTL_MS_MIN = 1_000
TTL_MS_MAX = 30 * 86_400_000
LIST_DEFAULT = 1_000  # dead letters or reservations of an answer, if nothing else is said
LIST_MAX = 10_000
IDS_MAX = 10_000  # dead letters named in a request
CORRELATION_ID_MAX = 128  # printable ASCII
RECEIVE_BYTES_MAX = 4 * 1024 * 1024  # one request message
SEND_BYTES_MAX = 64 * 1024 * 1024  # one answer message
LINE_OVERHEAD_BYTES_MAX = 24  # tags, lengths and quantity of one line on the wire

WORKER_THREADS = 8  # performance: between 2 and 16 threads nothing changes, one is slower
IN_FLIGHT_MAX = 256  # requests that wait for a thread of one worker before the next is sent away
MUTATION_THREADS = 8  # of a worker, waiting for the writer: none of them serves reads
PUBLISH_STREAMS_MAX = 8  # that publish events through one worker
WATCHES_MAX = 32  # streams of one worker that watch availability
SPARE_THREADS = 2  # beside those of streams, to refuse more of them
WATCH_PAIRS_MAX = 1_000  # lines times branches of a watch
HEARTBEAT_MS_DEFAULT = 15_000  # of a watch on which nothing changes
HEARTBEAT_MS_MIN = 1_000
HEARTBEAT_MS_MAX = 300_000
CHANGE_POLL_S = 0.05  # how often a worker looks whether positions have changed, while anybody watches
WATCH_PAUSE_FACTOR = (
    2 * WATCHES_MAX
)  # a watch rests so many times what its last answer took: all take half a core
KEEPALIVE_MS = 30_000  # a connection without calls or answers is asked whether it is still there
KEEPALIVE_TIMEOUT_MS = 10_000
WRITER_THREADS = 16  # of the writer process
WRITER_TIMEOUT_S = 30.0  # the longest that a worker waits for the writer when its caller would wait longer
LIVE_PAIRS = 1 << 14  # pairs that live positions have room for at first; doubles when it is used up
LIVE_WORDS = 1 << 19  # 8-byte words of their lists
STREAM_ENTRIES_MAX = 1_000  # entries of an event stream taken in at a time
STREAM_WAIT_S = 0.5  # for new entries; as long as it takes at most to stop
STREAM_RETRY_S = 0.5  # when the stream can't be read or its events not be kept
STANDBY_S = 0.2  # how often a writer that stands by looks whether the store is free
FOLLOW_S = 0.02  # how often the writer looks at what other hosts did
EXPIRE_S = 1.0  # how often reservations whose time is over are ended; readers don't wait for it
FORGET_S = 5.0  # how often those that ended long ago are forgotten
FORGET_MAX = 200  # of them at a time: nobody waits long for the writer meanwhile
ENDED_KEPT_US = 30 * 86_400_000_000  # a reservation that has ended, and its key
COMMIT_TRIES_MAX = 16  # against other servers that change the same pairs, before the caller is sent away
FOLLOW_CHANGES_MAX = 500  # changes of the cache taken in at a time
PUSHBACK_MS = 250  # when one sent away should ask again

KEPT_SNAPSHOTS_MAX = 2  # snapshots mapped beside the active one, for `snapshot_version` in requests
POLL_S = 0.2  # how often the store is looked at for a new active snapshot
CHECK_NICENESS = 10  # of the thread that checks a new snapshot: what answers comes first
HOUSEKEEPING_S = 0.1  # how often a worker looks for commands and for maps to let go
GRACE_S = 10.0  # what a request in flight gets to end when the server stops
RESTART_DELAY_S = 0.2  # before a dead worker is started again; doubles with each death in a row
RESTART_DELAY_MAX_S = 5.0
SWAP_RETRY_S = 5.0  # before a process that failed to swap is told again; doubles with each failure in a row
SWAP_RETRY_MAX_S = 60.0
REFUSED_RETRY_S = (
    1.0  # before a snapshot that was refused is looked at again; doubles with each refusal in a row
)
REFUSED_RETRY_MAX_S = 30.0
LIVE_LOOK_S = 0.05  # how often a worker looks which live file is announced
LIVE_CHECK_S = 1.0  # how often a writer looks whether its live file is still in its place
BEAT_S = 0.2  # how often a process says that it is at work
SILENCE_S = (
    2.0  # live state whose writer was not at work for as long is STALE, and so is what was not looked at
)
STALL_S = 5.0  # a loop that does not turn for as long hangs
HANG_S = 10.0  # a process that is not heard for as long is killed and replaced
START_HANG_S = 120.0  # one that has just been started, before it is heard for the first time
HEALTHY_AFTER_S = 30.0  # a worker that lived as long starts with a clean record

if RECEIVE_BYTES_MAX < LINES_MAX * (SKU_BYTES_MAX + UOM_BYTES_MAX + LINE_OVERHEAD_BYTES_MAX):
    raise AssertionError("a request within the line limits must fit into a message")
if RECEIVE_BYTES_MAX < EVENTS_MAX * (SKU_BYTES_MAX + 4 * FIELD_BYTES_MAX + EVENT_OVERHEAD_BYTES_MAX):
    raise AssertionError("events within their limits must fit into a message")
