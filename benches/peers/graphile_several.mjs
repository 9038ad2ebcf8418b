// graphile-worker in several processes over one PostgreSQL server: jobs that do nothing while they are enqueued, the same
// when all were enqueued before, and how long until another process starts one.
import { fork } from 'node:child_process'
import { makeWorkerUtils } from 'graphile-worker'
import { logger } from './graphile_options.mjs'
import { crowd, latency, rate, report } from './report.mjs'

const [connectionString, ...counts] = process.argv.slice(2)
const [processes, concurrency, jobs, watched] = counts.map(Number)
const payload = { argument: 'x'.repeat(80) }
const hundred = Array.from({ length: 100 }, () => ({ identifier: 'noop', payload }))

const utils = await makeWorkerUtils({ connectionString, maxPoolSize: 10, logger })
await utils.migrate()

let done = 0
let changed = () => {}
let told = () => {}
const workers = Array.from({ length: processes }, () => {
  const child = fork(new URL('graphile_worker.mjs', import.meta.url), [connectionString, String(concurrency)])
  const worker = { child, obeyed: new Set() }
  child.on('message', (message) => {
    if (message.obeyed) worker.obeyed.add(message.obeyed)
    if (message.done) done += message.done
    if (message.number !== undefined) told(message.number, message.at)
    changed()
  })
  return worker
})

const until = (isSo) =>
  new Promise((resolve) => {
    changed = () => isSo() && resolve()
    changed()
  })
const tell = async (some, order) => {
  for (const { child, obeyed } of some) {
    obeyed.delete(order)
    child.send({ order })
  }
  await until(() => some.every(({ obeyed }) => obeyed.has(order)))
}
const add = () => crowd(jobs / 100, 8, () => utils.addJobs(hundred))
/** The last handler has run; then the last completion must have been stored. */
const ended = async () => {
  await until(() => done === jobs)
  for (;;) {
    const left = await utils.withPgClient((client) => client.query('SELECT FROM graphile_worker._private_jobs LIMIT 1'))
    if (left.rowCount === 0) return
  }
}

await until(() => workers.every(({ obeyed }) => obeyed.has('start')))
await tell(workers, 'many')
const together = await rate(jobs, async () => {
  await add()
  await ended()
})
await tell(workers, 'stop')

done = 0
await add()
const drained = await rate(jobs, async () => {
  for (const { child } of workers) child.send({ order: 'many' })
  await ended()
})
await until(() => workers.every(({ obeyed }) => obeyed.has('many')))
await tell(workers, 'stop')

const [one] = workers
await tell([one], 'single')
const started = await latency(
  watched,
  (number) => utils.addJob('quick', { number }),
  (tell) => {
    told = tell
  },
)
await tell([one], 'stop')
for (const { child } of workers) child.disconnect()
for (const { child } of workers) child.kill()
await utils.release()
report({ together, drained, ...started })
