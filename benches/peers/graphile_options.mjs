// Owns how graphile-worker runs here: as its own measure of speed sets it, and without what costs latency.
import { Logger } from 'graphile-worker'

const quiet = { info() {}, warn() {}, error: console.error, debug() {} }
export const logger = new Logger(() => (level, message) => quiet[level === 'warning' ? 'warn' : level]?.(message))

/** For many jobs: they are fetched 500 at once, and completed in batches. */
export const many = (connectionString, taskList, concurrency) => ({
  connectionString,
  taskList,
  concurrency,
  maxPoolSize: 25,
  noHandleSignals: true,
  logger,
  preset: {
    worker: {
      localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
})

/** For one job at a time: every free worker fetches for itself as soon as it is told. */
export const single = (connectionString, taskList) => ({
  connectionString,
  taskList,
  concurrency: 20,
  maxPoolSize: 25,
  noHandleSignals: true,
  logger,
})
