// Runs many group members of kafkajs in one process. See Host.java for the commands and events.
'use strict'

const readline = require('readline')
const { Kafka, AssignerProtocol, PartitionAssigners, logLevel } = require('kafkajs')

const { MemberMetadata, MemberAssignment } = AssignerProtocol

// range is a plug-in, as kafkajs takes them, of the assignor that all other libraries have: consecutive partitions of
// each topic to the members in the order of their ids.
const range = ({ cluster }) => ({
  name: 'range',
  version: 0,
  async assign({ members, topics }) {
    const sorted = members.map(m => m.memberId).sort()
    const assignment = Object.fromEntries(sorted.map(id => [id, {}]))
    for (const topic of topics) {
      const count = cluster.findTopicPartitionMetadata(topic).length
      let next = 0
      sorted.forEach((id, i) => {
        const share = Math.floor(count / sorted.length) + (i < count % sorted.length ? 1 : 0)
        if (share > 0) assignment[id][topic] = Array.from({ length: share }, (_, n) => next + n)
        next += share
      })
    }
    return sorted.map(memberId => ({
      memberId,
      memberAssignment: MemberAssignment.encode({ version: 0, assignment: assignment[memberId], userData: Buffer.alloc(0) }),
    }))
  },
  protocol: ({ topics }) => ({
    name: 'range',
    metadata: MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
})

const assigners = { range, roundrobin: PartitionAssigners.roundRobin }

const write = (member, name, fields) =>
  process.stdout.write(`${member} ${JSON.stringify({ timestamp: Date.now(), name, ...fields })}\n`)

async function start(name, topic, config) {
  const kafka = new Kafka({
    clientId: name, brokers: [config.bootstrap], logLevel: logLevel.ERROR, retry: { retries: 20, maxRetryTime: 1000 },
  })
  const consumer = kafka.consumer({
    groupId: config.group, partitionAssigners: [assigners[config.assignor]], sessionTimeout: config.sessionTimeout,
    heartbeatInterval: 500, rebalanceTimeout: 20000, maxWaitTimeInMs: 200, allowAutoTopicCreation: false,
    metadataMaxAge: 300000,
  })
  let owned = []
  const revoke = () => {
    if (owned.length) write(name, 'partitions_revoked', { partitions: owned })
    owned = []
  }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    revoke()
    owned = (payload.memberAssignment[topic] || []).map(partition => ({ topic, partition }))
    write(name, 'partitions_assigned', { partitions: owned, member: payload.memberId })
  })
  consumer.on(consumer.events.REBALANCING, revoke)
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    console.error(name, payload.error)
    revoke()
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
      if (!isRunning() || isStale()) return
      for (const m of batch.messages) {
        write(name, 'record_data', {
          key: String(m.key), value: String(m.value), topic, partition: batch.partition, offset: Number(m.offset),
        })
        resolveOffset(m.offset)
      }
      const offset = Number(batch.lastOffset()) + 1
      let error = null
      try {
        await consumer.commitOffsets([{ topic, partition: batch.partition, offset: String(offset) }])
      } catch (e) {
        error = e
      }
      write(name, 'offsets_committed', {
        success: error === null, error: error && String(error), offsets: [{ topic, partition: batch.partition, offset }],
      })
      if (error) throw error // as the library wants it: it joins again where that is the cure
      await heartbeat()
    },
  })
  return { consumer, revoke }
}

const members = {}
readline.createInterface({ input: process.stdin }).on('line', async line => {
  const { op, member, topic, config } = JSON.parse(line)
  if (op === 'start') {
    members[member] = start(member, topic, config)
    members[member].catch(e => console.error(member, e))
    return
  }
  const { consumer, revoke } = await members[member]
  await consumer.disconnect()
  revoke()
  write(member, 'shutdown_complete', {})
}).on('close', () => process.exit(0))
