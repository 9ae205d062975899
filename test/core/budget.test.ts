import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTimeBudget, handlerRoundsLeft, mayStartHandler } from '../../src/core/budget.ts'

const handlerTimeoutMs = 10_000

/** 60 s from the clock's 1,000 on; a handler takes up to 10 s, settling 1 s. */
const aBudget = (maxRunMs = Number.POSITIVE_INFINITY) =>
  createTimeBudget({ now: 1_000, remainingMs: 60_000, maxRunMs, handlerTimeoutMs, reserveMs: 1_000 })

test('createTimeBudget() counts from now', () => {
  expect(aBudget(20_000)).toEqual({ startedAt: 1_000, deadline: 61_000, runUntil: 21_000, neededMs: 11_000 })
})

describe('mayStartHandler()', () => {
  test('says yes as long as a handler and its settling fit before the deadline', () => {
    expect([1_000, 49_999, 50_000, 50_000.1, 61_000, 70_000].map((now) => mayStartHandler(aBudget(), now))).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ])
  })

  test('says no from the end of maxRunMs on', () => {
    expect([20_999, 21_000, 21_001].map((now) => mayStartHandler(aBudget(20_000), now))).toEqual([true, false, false])
  })

  test('says no when maxRunMs allows and the deadline does not', () => {
    expect(mayStartHandler(aBudget(59_000), 55_000)).toBe(false)
  })
})

describe('handlerRoundsLeft()', () => {
  test('counts the handlers that fit one after the other', () => {
    const nows = [1_000, 10_000, 10_001, 40_000, 40_001, 50_000, 50_001]

    expect(nows.map((now) => handlerRoundsLeft(aBudget(), now, handlerTimeoutMs))).toEqual([5, 5, 4, 2, 1, 1, 0])
  })

  test('ends with maxRunMs', () => {
    expect([20_999, 21_000].map((now) => handlerRoundsLeft(aBudget(20_000), now, handlerTimeoutMs))).toEqual([1, 0])
  })

  test('never promises more than the deadline allows, and never one fewer', () => {
    const ms = fc.integer({ min: 1, max: 86_400_000 })
    fc.assert(
      fc.property(ms, ms, fc.nat(10_000), ms, (remainingMs, timeoutMs, reserveMs, passed) => {
        const maxRunMs = Number.POSITIVE_INFINITY
        const budget = createTimeBudget({ now: 0, remainingMs, maxRunMs, handlerTimeoutMs: timeoutMs, reserveMs })
        const rounds = handlerRoundsLeft(budget, passed, timeoutMs)
        const room = remainingMs - passed - reserveMs
        expect(rounds).toBe(Math.max(0, Math.floor(room / timeoutMs)))
      }),
    )
  })
})
