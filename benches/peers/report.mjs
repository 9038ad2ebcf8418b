// What each peer's script prints: one line of JSON that the measure reads.

/** The time that `percent` of all do not exceed, in milliseconds. */
const percentile = (times, percent) => {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))]
}

/** Runs `work` and gives how many of `count` it did a second. */
export const rate = async (count, work) => {
  const begun = performance.now()
  await work()
  return count / ((performance.now() - begun) / 1000)
}

/** Calls `send(number)` a hundred times a second and gives the middle and the slow end of what `seen` tells. */
export const latency = async (count, send, seen) => {
  const sent = new Map()
  const times = []
  const all = new Promise((resolve) => {
    seen((number) => {
      times.push(performance.now() - sent.get(number))
      if (times.length === count) resolve()
    })
  })
  const begun = performance.now()
  for (let number = 0; number < count; number += 1) {
    const wait = begun + number * 10 - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    sent.set(number, performance.now())
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
