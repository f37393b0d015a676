"""The journal of orders: what was answered, kept in the cache before it is sent (O8, O10).

An order is a record under its customer and key; two indexes lead to it, by the buyer's number and by the call. A record
is written once, but for one that waits for its hold: that is replaced by the final one, once.
"""

from pricegrid import v1
from pricegrid.cache.protocol import Commit, Committed, Key, Put
from pricegrid.service.limits import COMMIT_TRIES_MAX
from pricegrid.service.live.events import Ingesting
from pricegrid.service.live.link import busy

ORDER = "order"
ORDER_REF = "order_ref"
ORDER_CALL = "order_call"


class OrderJournal(Ingesting):
    """The part of `LiveState` that keeps orders."""

    def keep_order(self, record: v1.OrderRecord) -> v1.OrderRecord:
        """See `LiveApi`."""
        key = (ORDER, _name(record.customer_id, record.idempotency_key))
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                known = self._cache.get([key])[0]
                if known.value is not None:
                    kept = v1.OrderRecord.FromString(known.value)
                    is_same = kept.request_sha256 == record.request_sha256
                    if kept.is_final or not record.is_final or not is_same:
                        return kept
                commit = Commit(
                    {key: known.version}, [Put(*key, record.SerializeToString()), *_indexes(record)]
                )
                if isinstance(self._commit(commit), Committed):
                    return record
                self._follow()  # another host was first
        raise busy()

    def order(
        self, customer_id: str, key: str = "", order_ref: str = "", call: str = ""
    ) -> v1.OrderRecord | None:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            if order_ref:
                key = self._value((ORDER_REF, _name(customer_id, order_ref)))
            elif call:
                key = self._value((ORDER_CALL, _name(customer_id, call)))
            kept = self._cache.get([(ORDER, _name(customer_id, key))])[0].value if key else None
            return None if kept is None else v1.OrderRecord.FromString(kept)

    def _value(self, key: Key) -> str:
        return (self._cache.get([key])[0].value or b"").decode()


def _name(customer_id: str, key: str) -> str:
    return f"{customer_id}\0{key}"


def _indexes(record: v1.OrderRecord) -> list[Put]:
    key = record.idempotency_key.encode()
    puts = [Put(ORDER_CALL, _name(record.customer_id, record.correlation_id), key)]
    if record.order_ref:
        puts.append(Put(ORDER_REF, _name(record.customer_id, record.order_ref), key))
    return puts
