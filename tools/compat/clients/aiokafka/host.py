"""Runs many group members of aiokafka in one process. See Host.java for the commands and events.

host.py            takes commands
host.py version
"""

import asyncio
import json
import sys
import time

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor,
             "sticky": StickyPartitionAssignor}


def write(who, name, **fields):
    print(who, json.dumps({"timestamp": time.time_ns() // 1_000_000, "name": name, **fields}), flush=True)


def listed(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


class Member(aiokafka.ConsumerRebalanceListener):
    def __init__(self, name, topic, config):
        self.name, self.topic = name, topic
        assignor = assignors[config.pop("partition_assignment_strategy")]
        self.consumer = aiokafka.AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="earliest",
                                                  partition_assignment_strategy=[assignor], **config)

    async def on_partitions_revoked(self, revoked):
        write(self.name, "partitions_revoked", partitions=listed(revoked))

    async def on_partitions_assigned(self, assigned):
        coordinator = self.consumer._coordinator  # the only place where the library says them
        write(self.name, "partitions_assigned", partitions=listed(assigned), generation=coordinator.generation,
              member=coordinator.member_id)

    async def run(self):
        self.consumer.subscribe([self.topic], listener=self)
        await self.consumer.start()
        while True:
            ends = {}
            for partition, messages in (await self.consumer.getmany(timeout_ms=100, max_records=500)).items():
                for m in messages:
                    write(self.name, "record_data", key=m.key.decode(), value=m.value.decode(), topic=m.topic,
                          partition=m.partition, offset=m.offset)
                    ends[partition] = m.offset + 1
            if ends:
                await self.commit(ends)

    async def commit(self, ends):
        error = None
        try:
            await self.consumer.commit(ends)
        except aiokafka.errors.KafkaError as e:
            error = repr(e)
        write(self.name, "offsets_committed", success=error is None, error=error,
              offsets=[{"topic": p.topic, "partition": p.partition, "offset": o} for p, o in ends.items()])

    async def stop(self, task):
        task.cancel()
        await asyncio.wait([task])
        await self.consumer.stop()
        write(self.name, "shutdown_complete")


async def main():
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    members, stops = {}, []
    while line := await lines.readline():
        command = json.loads(line)
        name = command["member"]
        if command["op"] == "start":
            member = Member(name, command["topic"], command["config"])
            members[name] = member, asyncio.create_task(member.run())
        else:
            member, task = members.pop(name)
            stops.append(asyncio.create_task(member.stop(task)))


if sys.argv[1:] == ["version"]:
    print(aiokafka.__version__)
else:
    asyncio.run(main())
