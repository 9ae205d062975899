"""What any producer writes, with nothing but redis-py: python3 producer.py redis://127.0.0.1:6379 COUNT NAME"""

import json
import sys
from datetime import datetime, timezone

import redis

url, count, producer_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
r = redis.Redis.from_url(url)


def add(stream, event_type, event_id, **fields):
    entry = {"event_type": event_type, "event_id": f"{producer_id}-{event_id}", "producer_id": producer_id}
    entry["published_at"] = datetime.now(timezone.utc).isoformat()
    for name, value in fields.items():
        entry[name] = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    r.xadd(stream, entry, maxlen=1_000_000, approximate=True)


for n in range(count):
    who = {"user_id": n % 7, "session_id": f"{producer_id}-{n}"}
    cart = {"amount": f"{n}.50", "items": ["mug", "tea"]}
    add("user-actions", "page_view", f"view-{n}", **who, action="view", page="/tea")
    add("user-actions", "purchase", f"buy-{n}", **who, action="buy", **cart)
    for _ in range(2):  # as if no answer had come: sent again, under the id that it has
        add("user-orders", "order_placed", f"order-{n}", order_id=f"{producer_id}-{n}", user_id=n % 7, **cart)
    add("system-metrics", "metric", f"cpu-{n}", host="etl-1", name="cpu", value=0.1 + n / count)
