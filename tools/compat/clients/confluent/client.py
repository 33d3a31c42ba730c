"""Produces and reads records with confluent-kafka for the compatibility tests.

client.py produce BOOTSTRAP TOPIC CODEC ACKS IDEMPOTENT   reads one record a line from standard input
client.py consume BOOTSTRAP TOPIC PARTITION COUNT         writes one record a line to standard output
client.py version

A record is {"key": base64 or null, "value": base64 or null, "headers": [[name, base64 or null]...]}; what is read
also has "offset" and "timestamp".
"""

import base64
import json
import sys
import time

import confluent_kafka


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def produce(bootstrap, topic, codec, acks, idempotent):
    failures = []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap,
        "compression.type": codec,
        "acks": acks,
        "enable.idempotence": idempotent == "true",
        "linger.ms": 50,
        "message.timeout.ms": 30000,
    })

    def delivered(error, _message):
        if error is not None:
            failures.append(str(error))

    for line in sys.stdin:
        r = json.loads(line)
        headers = [(name, decode(value)) for name, value in r["headers"]]
        producer.produce(topic, key=decode(r["key"]), value=decode(r["value"]), headers=headers, partition=0,
                         on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(30)
    if failures or left:
        sys.exit(f"{left} records not sent; {failures[:3]}")


def consume(bootstrap, topic, partition, count):
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "not-used",
        "enable.auto.commit": False,
        "check.crcs": True,
    })
    start = confluent_kafka.TopicPartition(topic, int(partition), 0)
    consumer.assign([start])
    left, deadline = int(count), time.monotonic() + 60
    while left > 0 and time.monotonic() < deadline:
        m = consumer.poll(1.0)
        if m is None:
            continue
        if m.error():
            sys.exit(str(m.error()))
        print(json.dumps({
            "key": encode(m.key()), "value": encode(m.value()),
            "headers": [[name, encode(value)] for name, value in m.headers() or []],
            "offset": m.offset(), "timestamp": m.timestamp()[1],
        }))
        left -= 1
    consumer.close()
    if left > 0:
        sys.exit(f"{left} records did not come")


if __name__ == "__main__":
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "version":
        print(confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])
    elif verb == "produce":
        produce(*args)
    else:
        consume(*args)
