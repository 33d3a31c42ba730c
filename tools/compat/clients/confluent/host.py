"""Runs many group members of confluent-kafka in one process. See Host.java for the commands and events."""

import json
import sys
import threading
import time

import confluent_kafka

printing = threading.Lock()


def write(who, name, **fields):
    line = json.dumps({"timestamp": time.time_ns() // 1_000_000, "name": name, **fields})
    with printing:
        print(who, line, flush=True)


def listed(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


class Member(threading.Thread):
    def __init__(self, name, topic, config):
        super().__init__(daemon=True)
        self.member, self.topic, self.stopping = name, topic, threading.Event()
        self.consumer = confluent_kafka.Consumer({"enable.auto.commit": False, **config})

    def assigned(self, _consumer, partitions):
        write(self.member, "partitions_assigned", partitions=listed(partitions), member=self.consumer.memberid())

    def revoked(self, _consumer, partitions):
        write(self.member, "partitions_revoked", partitions=listed(partitions))

    def run(self):
        self.consumer.subscribe([self.topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        while not self.stopping.is_set():
            ends = {}
            for m in self.consumer.consume(500, 0.1):
                if m.error():
                    print(self.member, m.error(), file=sys.stderr)
                    continue
                write(self.member, "record_data", key=m.key().decode(), value=m.value().decode(), topic=m.topic(),
                      partition=m.partition(), offset=m.offset())
                ends[m.topic(), m.partition()] = m.offset() + 1
            if ends:
                self.commit(ends)
        self.consumer.close()
        write(self.member, "shutdown_complete")

    def commit(self, ends):
        offsets = [confluent_kafka.TopicPartition(t, p, o) for (t, p), o in ends.items()]
        try:
            done, error = self.consumer.commit(offsets=offsets, asynchronous=False), None
            offsets = [p for p in done if p.error is None]
        except confluent_kafka.KafkaException as e:
            error = str(e)
        write(self.member, "offsets_committed", success=error is None, error=error,
              offsets=[{"topic": p.topic, "partition": p.partition, "offset": p.offset} for p in offsets])


def transform(command):
    """Copies records in transactions; see Host.java."""
    name, to, left = command["member"], command["to"], command["count"]
    consumer = confluent_kafka.Consumer({"enable.auto.commit": False, **command["config"]})
    producer = confluent_kafka.Producer(command["producer"])
    producer.init_transactions()
    consumer.subscribe([command["topic"]])
    while left > 0:
        batch = consumer.consume(50, 0.1)
        for m in batch:
            if m.error():
                raise confluent_kafka.KafkaException(m.error())
        if not batch:
            continue
        left -= len(batch)
        offsets = {(m.topic(), m.partition()): m.offset() + 1 for m in batch}
        for what, end in ("committed", producer.commit_transaction), ("aborted", producer.abort_transaction):
            producer.begin_transaction()
            for m in batch:
                producer.produce(to, key=m.key(), value=f"{what} {name} {m.value().decode()}".encode())
            producer.flush()
            producer.send_offsets_to_transaction(
                [confluent_kafka.TopicPartition(t, p, o) for (t, p), o in offsets.items()],
                consumer.consumer_group_metadata())
            end()
            offsets = dict.fromkeys(offsets, 0)
    consumer.close()
    write(name, "shutdown_complete")


members = {}
for line in sys.stdin:
    command = json.loads(line)
    if command["op"] == "start":
        members[command["member"]] = Member(command["member"], command["topic"], command["config"])
        members[command["member"]].start()
    elif command["op"] == "transform":
        threading.Thread(target=transform, args=(command,), daemon=True).start()
    else:
        members.pop(command["member"]).stopping.set()
