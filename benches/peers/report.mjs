// Owns what all peers' scripts share: rates, latencies, and the one line of JSON that the measure reads.

/** Milliseconds of a clock that all processes of this machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6

/** The time that `percent` of all do not exceed, in milliseconds. */
const percentile = (times, percent) => {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))]
}

/** Runs `work` and gives how many of `count` it did a second. */
export const rate = async (count, work) => {
  const begun = now()
  await work()
  return count / ((now() - begun) / 1000)
}

/** Calls `send(number)` a hundred times a second and gives the middle and the slow end of what `seen` tells. */
export const latency = async (count, send, seen) => {
  const sent = new Map()
  const times = []
  const all = new Promise((resolve) => {
    seen((number, at = now()) => {
      times.push(at - sent.get(number))
      if (times.length === count) resolve()
    })
  })
  const begun = now()
  for (let number = 0; number < count; number += 1) {
    const wait = begun + number * 10 - now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    sent.set(number, now())
    void send(number)
  }
  await all
  return { p50: percentile(times, 50), p99: percentile(times, 99) }
}

/** Does `count` things, at most `atOnce` beside each other. */
export const crowd = async (count, atOnce, one) => {
  let next = 0
  const worker = async () => {
    while (next < count) {
      next += 1
      await one()
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** Prints the figures. */
export const report = (figures) => console.log(JSON.stringify(figures))
