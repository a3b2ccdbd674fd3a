"""The Python peer of the ingest benchmark: confluent-kafka, orjson, river.

What one would write without kedge: take batches, parse, learn each of the 16 numbers with river's ADWIN. No labels, no
categories, no checkpoint. Prints the same JSON as raw_consume.
usage: peer.py BROKERS TOPIC EVENTS parse|adwin
"""

import json
import sys
import time

import orjson
from confluent_kafka import Consumer, TopicPartition
from river import drift

NUMBERS = [f"n{i:02d}" for i in range(16)]


def main():
    brokers, topic, wanted, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    began = time.monotonic()
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "kedge-bench-peer",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
        }
    )
    metadata = consumer.list_topics(topic, timeout=10)
    consumer.assign([TopicPartition(topic, p, 0) for p in metadata.topics[topic].partitions])
    detectors = [drift.ADWIN() for _ in NUMBERS] if mode == "adwin" else []
    count = drifts = size = silent = 0
    while count < wanted and silent < 30:
        messages = consumer.consume(min(10000, wanted - count), timeout=1)
        silent = 0 if messages else silent + 1
        for message in messages:
            value = message.value()
            size += len(value)
            event = orjson.loads(value)
            for name, detector in zip(NUMBERS, detectors):
                detector.update(event[name])
                drifts += detector.drift_detected
        count += len(messages)
    result = {"events": count, "bytes": size, "drifts": drifts}
    result.update(wall_s=time.monotonic() - began, cpu_s=time.process_time())
    print(json.dumps(result))
    consumer.close()
    sys.exit(count != wanted)


main()
