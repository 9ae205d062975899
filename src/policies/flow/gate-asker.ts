import { RedisConnectionError } from '../../errors.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from '../../group/redis/scripts/script.ts'
import type { PolicyRunInside } from '../../run/policy-engine.ts'
import type { GateAnswer, GateOperation } from './gate-request.ts'
import { gateQuestion, readGateReply } from './gate-request.ts'
import { ServerTime } from './server-time.ts'

/** How far ahead a turn may be. */
const AHEAD_MS = 1_000

/** How soon a request is sent again that was not answered: it says the same, and takes nothing twice. */
const AGAIN_MS = [50, 100, 200, 400, 800] as const

/** Sends operations to the server, one request after the other. What cannot be asked ends the run. */
export class GateAsker {
  static readonly MOST = MAX_ENTRIES_PER_SCRIPT_CALL
  readonly serverTime = new ServerTime()
  /** Resolves once no request is under way. */
  asked: Promise<void> = Promise.resolve()
  isAsking = false
  readonly #inside: PolicyRunInside
  readonly #id = crypto.randomUUID()
  #requests = 0
  #operations: {
    readonly operation: GateOperation
    readonly answered?: ((answer?: GateAnswer) => void) | undefined
  }[] = []

  constructor(inside: PolicyRunInside) {
    this.#inside = inside
    const { slot } = inside.parts
    // since then as long has passed as on our clock, or longer
    if (slot.takenAt !== undefined) this.serverTime.noteAtLeast(slot.takenAt, inside.time.clock.monotonic())
  }

  get hasOperations(): boolean {
    return this.#operations.length > 0
  }

  /** @param answered Called with the answer, or without one if none came. */
  add(operation: GateOperation, answered?: (answer?: GateAnswer) => void): void {
    this.#operations.push({ operation, answered })
  }

  /** Sends what there is, at most so many of which may pass. It never rejects. */
  send(most: number): Promise<void> {
    this.isAsking = true
    this.asked = this.#send(most).finally(() => {
      this.isAsking = false
    })
    return this.asked
  }

  async #send(most: number): Promise<void> {
    const { fail, time } = this.#inside
    const sent = this.#operations.splice(0, 2 * GateAsker.MOST)
    let answers: readonly GateAnswer[] = []
    try {
      const got = await this.#request(
        sent.map(({ operation }) => operation),
        most,
      )
      // another has the slot: nothing more is started
      if (got) answers = got
      else time.interrupt()
    } catch (error) {
      fail(error as Error)
    }
    for (const [n, { answered }] of sent.entries()) answered?.(answers[n])
  }

  async #request(operations: readonly GateOperation[], most: number): Promise<readonly GateAnswer[] | undefined> {
    const { parts, time } = this.#inside
    const { group, slot, consumer } = parts
    const { keys } = consumer
    const ask = {
      lease: keys.slot(slot.consumerName),
      state: keys.state,
      breakers: keys.breakers,
      consumerName: slot.consumerName,
      token: slot.token,
      nonce: `${this.#id}:${++this.#requests}`,
      leaseMs: Math.max(1, time.leftMs()),
      aheadMs: AHEAD_MS,
      most,
    }
    const question = gateQuestion(ask, operations)
    for (let attempt = 0; ; attempt++) {
      const sentAt = time.clock.monotonic()
      try {
        const [reply] = await group.ask([question])
        const { serverNow, answers } = readGateReply(reply)
        this.serverTime.note(serverNow, sentAt, time.clock.monotonic())
        return answers
      } catch (error) {
        const waitMs = AGAIN_MS[attempt]
        if (!(error instanceof RedisConnectionError) || waitMs === undefined || time.spareMs() < 2 * waitMs) throw error
        await new Promise<void>((resolve) => void time.clock.after(waitMs, resolve))
      }
    }
  }
}
