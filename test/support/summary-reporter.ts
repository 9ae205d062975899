import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { SerializedError } from 'vitest'
import type { Reporter, TestModule } from 'vitest/node'

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const NOTHING: Counts = { passed: 0, failed: 0, skipped: 0 }

/**
 * Prints `tests: N passed, N failed, N skipped` as the very last line of a run, and fails a run in which nothing ran. With a file in `MILLRACE_TALLY`
 * the line counts the runs before this one, too.
 * What passed only at a second attempt is named before it.
 *
 * A file that failed outside its tests (it does not load, or a hook threw), and an error that no test caught, count as
 * one failure each.
 */
export default class SummaryReporter implements Reporter {
  #counts = NOTHING
  #flaky: readonly string[] = []

  onInit(): void {
    // Other reporters still write after their own end of run, so the line waits for the process to exit.
    process.once('exit', () => {
      if (this.#counts.passed + this.#counts.failed === 0) process.exitCode ||= 1
      const { passed, failed, skipped } = addToTally(this.#counts)
      for (const name of this.#flaky) process.stdout.write(`passed at a second attempt: ${name}\n`)
      process.stdout.write(`tests: ${passed} passed, ${failed} failed, ${skipped} skipped\n`)
    })
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const total = modules.map(countModule).reduce(add, NOTHING)
    this.#counts = { ...total, failed: total.failed + unhandledErrors.length }
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    this.#flaky = tests
      .filter((test) => test.diagnostic()?.flaky)
      .map(({ fullName, module }) => `${module.relativeModuleId} > ${fullName}`)
  }
}

/** Those of all runs so far. */
function addToTally(counts: Counts): Counts {
  const file = process.env.MILLRACE_TALLY
  if (!file) return counts
  const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const total = before === '' ? counts : add(JSON.parse(before) as Counts, counts)
  writeFileSync(file, JSON.stringify(total))
  return total
}

function countModule(module: TestModule): Counts {
  const states = [...module.children.allTests()].map((test) => test.result().state)
  const failed = states.filter((state) => state === 'failed').length
  const failedOutsideTests = failed === 0 && module.state() === 'failed' ? 1 : 0
  return {
    passed: states.filter((state) => state === 'passed').length,
    failed: failed + failedOutsideTests,
    skipped: states.filter((state) => state === 'skipped' || state === 'pending').length,
  }
}

function add(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }
}
