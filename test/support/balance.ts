import { afterEach, expect } from 'vitest'
import { RunReport } from '../../dist/run/run-report.js'
import { reportImbalance } from '../../src/report.ts'

/** Promise 13 in every test: whatever a test is about, each report of a run that it made adds up. */
const unbalanced: unknown[] = []
const { ended } = RunReport.prototype
RunReport.prototype.ended = function (...numbers) {
  ended.apply(this, numbers)
  if (reportImbalance(this.numbers) !== 0) unbalanced.push(this.numbers)
}

afterEach(() => {
  expect(unbalanced.splice(0), 'reports that do not add up').toEqual([])
})
