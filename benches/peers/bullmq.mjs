// BullMQ over the Redis server at a port: enqueues one by one and in bulk, jobs that do nothing, latency.
import { Queue, Worker } from 'bullmq'
import { crowd, latency, rate, report } from './report.mjs'

const [port, singles, jobs, watched] = process.argv.slice(2).map(Number)
const connection = { host: '127.0.0.1', port }
const payload = { argument: 'x'.repeat(80) }
const kept = { removeOnComplete: true }

const parked = new Queue('parked', { connection })
const enqueues = await rate(singles, () => crowd(singles, 50, () => parked.add('job', payload)))
const hundred = Array.from({ length: 100 }, () => ({ name: 'job', data: payload }))
const bulk = await rate(jobs, () => crowd(jobs / 100, 8, () => parked.addBulk(hundred)))
const waiting = await parked.getWaitingCount()
if (waiting !== singles + jobs) throw new Error(`${waiting} jobs wait, not all that were sent`)

const queue = new Queue('noop', { connection })
await crowd(jobs / 100, 8, () => queue.addBulk(hundred.map((job) => ({ ...job, opts: kept }))))
const done = await rate(
  jobs,
  () =>
    new Promise((resolve) => {
      let count = 0
      const worker = new Worker('noop', async () => {}, { connection, concurrency: 100 })
      worker.on('completed', () => {
        count += 1
        if (count === jobs) resolve(worker.close())
      })
    }),
)

const quick = new Queue('quick', { connection })
let told = () => {}
const worker = new Worker('quick', async (job) => told(job.data.number), { connection, concurrency: 100 })
await worker.waitUntilReady()
const started = await latency(
  watched,
  (number) => quick.add('job', { number }, kept),
  (tell) => {
    told = tell
  },
)
await Promise.all([worker.close(), quick.close(), queue.close(), parked.close()])
report({ enqueues, bulk, done, ...started })
