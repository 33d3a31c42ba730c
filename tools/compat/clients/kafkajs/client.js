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

// consume reads a partition from its start with a group of its own, as every consumer of kafkajs has one.
async function consume(bootstrap, topic, partition, count) {
  const consumer = connectTo(bootstrap).consumer({
    groupId: `compat-${topic}-${process.pid}`, maxWaitTimeInMs: 200, allowAutoTopicCreation: false,
  })
  const out = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${count - out.length} records did not come`)), 60000).unref()
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    consumer.run({
      eachMessage: async ({ partition: from, message: m }) => {
        if (from !== Number(partition)) return
        const headers = []
        for (const [name, value] of Object.entries(m.headers)) {
          for (const v of Array.isArray(value) ? value : [value]) headers.push([name, encode(v)])
        }
        out.push(JSON.stringify({
          key: encode(m.key), value: encode(m.value), headers, offset: Number(m.offset), timestamp: Number(m.timestamp),
        }))
        if (out.length === Number(count)) resolve()
      },
    }).catch(reject)
  })
  await consumer.disconnect()
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
