// One worker of graphile_several.mjs, a process of its own. It runs when it is told and says what it did.
import { run } from 'graphile-worker'
import { many, single } from './graphile_options.mjs'
import { now } from './report.mjs'

const [connectionString, concurrency] = process.argv.slice(2)
const SAY_MS = 5

let done = 0
const taskList = {
  noop: async () => {
    done += 1
  },
  quick: async ({ number }) => process.send({ number, at: now() }),
}
let runner
process.on('message', async ({ order }) => {
  if (order === 'many') runner = await run(many(connectionString, taskList, Number(concurrency)))
  if (order === 'single') runner = await run(single(connectionString, taskList))
  if (order === 'stop') await runner.stop()
  process.send({ obeyed: order })
})
// In sums, for a message a job would cost what is measured.
setInterval(() => {
  if (done === 0) return
  process.send({ done })
  done = 0
}, SAY_MS)
process.send({ obeyed: 'start' })
