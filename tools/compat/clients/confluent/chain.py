"""One process of a chain that is exactly once, with confluent-kafka. See Chain.java for the commands and events."""

import json
import random
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BATCH_RECORDS = 50


def patient(call, *args):
    """Repeats what the library says may be repeated."""
    while True:
        try:
            return call(*args)
        except KafkaException as e:
            if not e.args[0].retriable():
                raise
            print(call.__name__, e, file=sys.stderr)


class Chain:
    def __init__(self, command):
        self.name, self.partitions, self.batch = command["member"], command["partitions"], []
        self.producer = Producer(command["producer"])
        patient(self.producer.init_transactions)

    def tell(self, step, **fields):
        print(self.name, json.dumps({"name": step, **fields}), flush=True)

    def abort(self, error):
        """Ends a transaction on purpose, or for an error that says that this heals it."""
        if error is not None and not error.args[0].txn_requires_abort():
            raise error
        patient(self.producer.abort_transaction)

    def produce(self, topic, number):
        n = 0
        while True:
            n += 1
            start, end, error = number, number + 1 + random.randrange(40), None
            self.tell("began", **{"from": start, "to": end})
            try:
                self.producer.begin_transaction()
                for number in range(start, end):
                    self.producer.produce(topic, str(number), partition=number % self.partitions)
                number = end
                if n % 7 != 0:
                    self.tell("ending")
                    patient(self.producer.commit_transaction)
                    self.tell("committed", **{"from": start, "records": end - start})
                    time.sleep(0.05)
                    continue
                self.producer.flush()
                self.tell("ending")
            except KafkaException as e:
                error = e
            self.abort(error)
            self.tell("aborted", **{"from": start, "records": end - start, "error": error and str(error)})

    def assigned(self, consumer, _partitions):
        self.group = consumer.consumer_group_metadata()

    def revoked(self, _consumer, partitions):
        gone = {p.partition for p in partitions}
        self.batch = [m for m in self.batch if m.partition() not in gone]

    def fill(self):
        """Adds records to those of the last transaction, if that was aborted. Who speaks for the group is asked before:
        after the membership is lost it would be nobody, whom the broker lets commit, and only polling tells of a loss."""
        self.group = self.consumer.consumer_group_metadata()
        until = time.monotonic() + 0.2
        while True:
            m = self.consumer.poll(0.05)
            if m is not None and m.error():
                print(self.name, m.error(), file=sys.stderr)
            elif m is not None:
                self.batch.append(m)
            if len(self.batch) >= BATCH_RECORDS or time.monotonic() > until:
                return

    def transform(self, m, to):
        number = int(m.value())
        for j in range(number % 3):
            self.producer.produce(to, f"{m.partition()}/{m.offset()}/{j}/{number}", f"key-{number % 17}-{j}",
                                  partition=(number // 3 + j) % self.partitions)
        return number % 3

    def transact(self, to, commit):
        error = None
        try:
            self.producer.begin_transaction()
            self.tell("began")
            ends = {(m.topic(), m.partition()): m.offset() + 1 for m in self.batch}
            outputs = sum(self.transform(m, to) for m in self.batch)
            self.tell("produced")
            offsets = [TopicPartition(t, p, o) for (t, p), o in ends.items()]
            patient(self.producer.send_offsets_to_transaction, offsets, self.group)
            self.tell("ending")
            if commit:
                patient(self.producer.commit_transaction)
                self.tell("committed", records=len(self.batch), outputs=outputs)
                self.batch = []
                return
            self.producer.flush()
        except KafkaException as e:
            error = e
        self.abort(error)
        self.tell("aborted", records=len(self.batch), error=error and str(error))

    def chain(self, command):
        self.consumer = Consumer({"enable.auto.commit": False, "isolation.level": "read_committed",
                                  **command["config"]})
        self.consumer.subscribe([command["topic"]], on_assign=self.assigned, on_revoke=self.revoked,
                                on_lost=self.revoked)
        n = 0
        while True:
            self.fill()
            if self.batch:
                n += 1
                self.transact(command["to"], n % 5 != 0)


command = json.loads(sys.stdin.readline())
chain = Chain(command)
if command["op"] == "produce":
    chain.produce(command["topic"], command["from"])
chain.chain(command)
