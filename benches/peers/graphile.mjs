// graphile-worker over a PostgreSQL server: enqueues one by one and in bulk, jobs that do nothing, latency.
import { makeWorkerUtils, run } from 'graphile-worker'
import { logger, many, single } from './graphile_options.mjs'
import { crowd, latency, rate, report } from './report.mjs'

const [connectionString, ...counts] = process.argv.slice(2)
const [singles, jobs, watched] = counts.map(Number)
const payload = { argument: 'x'.repeat(80) }

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
      run(many(connectionString, taskList, 100)).then((started) => {
        runner = started
      })
    }),
)
await runner.stop()
runner = await run(single(connectionString, taskList))
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
