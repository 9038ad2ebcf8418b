// graphile-worker over a PostgreSQL server: enqueues one by one and in bulk, jobs that do nothing, latency.
import { makeWorkerUtils, run } from 'graphile-worker'
import { crowd, latency, rate, report } from './report.mjs'

const [connectionString, ...counts] = process.argv.slice(2)
const [singles, jobs, watched] = counts.map(Number)
const payload = { argument: 'x'.repeat(80) }
const quiet = { info() {}, warn() {}, error: console.error, debug() {} }
const { Logger } = await import('graphile-worker')
const logger = new Logger(() => (level, message) => quiet[level === 'warning' ? 'warn' : level]?.(message))
const preset = {
  worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 },
}

const utils = await makeWorkerUtils({ connectionString, maxPoolSize: 50, logger })
await utils.migrate()
const enqueues = await rate(singles, () => crowd(singles, 50, () => utils.addJob('parked', payload)))
const hundred = Array.from({ length: 100 }, () => ({ identifier: 'noop', payload }))
const bulk = await rate(jobs, () => crowd(jobs / 100, 8, () => utils.addJobs(hundred)))

let done = 0
let finished = () => {}
let told = () => {}
const taskList = {
  noop: async () => {
    done += 1
    if (done === jobs) finished()
  },
  quick: async ({ number }) => told(number),
}
let runner
const settled = await rate(
  jobs,
  () =>
    new Promise((resolve) => {
      finished = resolve
      const options = { connectionString, concurrency: 100, maxPoolSize: 20, taskList, noHandleSignals: true, logger, preset }
      run(options).then((started) => {
        runner = started
      })
    }),
)
await runner.stop()
const lone = { connectionString, concurrency: 20, maxPoolSize: 20, taskList, noHandleSignals: true, logger }
runner = await run(lone)
const started = await latency(
  watched,
  (number) => utils.addJob('quick', { number }),
  (tell) => {
    told = tell
  },
)
await runner.stop()
await utils.release()
report({ enqueues, bulk, done: settled, ...started })
