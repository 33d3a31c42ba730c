// Produces and reads records with kafkajs for the compatibility tests.
//
// client.js produce BOOTSTRAP TOPIC CODEC ACKS IDEMPOTENT   reads one record a line from standard input
// client.js consume BOOTSTRAP TOPIC PARTITION COUNT         writes one record a line to standard output
// client.js version
//
// A record is {"key": base64 or null, "value": base64 or null, "headers": [[name, base64 or null]...]}; what is read
// also has "offset" and "timestamp".
'use strict'

const fs = require('fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const { ZstdCodec } = require('zstd-codec')
const lz4 = require('lz4-napi')

const names = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

// kafkajs brings gzip; other codecs are plugged in as its manual says.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
const zstd = new Promise(resolve => ZstdCodec.run(resolve))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(new (await zstd).Streaming().compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(new (await zstd).Streaming().decompress(buffer)),
})

const decode = text => (text === null ? null : Buffer.from(text, 'base64'))
const encode = data => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'))

const connectTo = bootstrap =>
  new Kafka({ clientId: 'spate-compat', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { retries: 5 } })

async function produce(bootstrap, topic, codec, acks, idempotent) {
  const lines = fs.readFileSync(0, 'utf8').split('\n').filter(line => line)
  const messages = lines.map(line => {
    const r = JSON.parse(line)
    const headers = {}
    for (const [name, value] of r.headers) headers[name] = decode(value)
    return { partition: 0, key: decode(r.key), value: decode(r.value), headers }
  })
  const producer = connectTo(bootstrap).producer({
    idempotent: idempotent === 'true',
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  })
  await producer.connect()
  await producer.send({
    topic, messages, acks: acks === 'all' ? -1 : Number(acks), compression: CompressionTypes[names[codec]],
  })
  await producer.disconnect()
}

// consume fetches from a partition by offset. The consumer that kafkajs makes public always joins a group, so this
// uses the cluster and broker objects below it.
async function consume(bootstrap, topic, partition, count) {
  const kafka = connectTo(bootstrap)
  const createCluster = Object.getOwnPropertySymbols(kafka).find(s => String(s).includes('createCluster'))
  const cluster = kafka[createCluster]({ allowAutoTopicCreation: false, metadataMaxAge: 300000 })
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const { leader } = cluster.findTopicPartitionMetadata(topic).find(p => p.partitionId === Number(partition))
  const broker = await cluster.findBroker({ nodeId: String(leader) })
  const out = []
  let offset = 0n
  for (const deadline = Date.now() + 60000; out.length < Number(count); ) {
    if (Date.now() > deadline) throw new Error(`${count - out.length} records did not come`)
    const { responses } = await broker.fetch({
      maxWaitTime: 500, minBytes: 1, maxBytes: 10485760, isolationLevel: 1,
      topics: [{ topic, partitions: [{ partition: Number(partition), fetchOffset: String(offset), maxBytes: 65536 }] }],
    })
    for (const m of responses[0].partitions[0].messages) {
      if (BigInt(m.offset) < offset) continue // the batch began before the offset asked for
      offset = BigInt(m.offset) + 1n
      const headers = []
      for (const [name, value] of Object.entries(m.headers)) {
        for (const v of Array.isArray(value) ? value : [value]) headers.push([name, encode(v)])
      }
      out.push(JSON.stringify({
        key: encode(m.key), value: encode(m.value), headers, offset: Number(m.offset), timestamp: Number(m.timestamp),
      }))
    }
  }
  await cluster.disconnect()
  process.stdout.write(out.slice(0, Number(count)).join('\n') + '\n')
}

async function main() {
  const [verb, ...args] = process.argv.slice(2)
  if (verb === 'version') console.log(require('kafkajs/package.json').version, 'node', process.version)
  else await (verb === 'produce' ? produce : consume)(...args)
}

main().catch(e => {
  console.error(e.stack || String(e))
  process.exit(1)
})
