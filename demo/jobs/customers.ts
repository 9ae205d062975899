import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../random.ts'
import type { Services } from './services.ts'
import { FATES, FUNCTION } from './services.ts'

type Ask = (request: { readonly action: string } & Record<string, unknown>) => Promise<unknown>

/** A job, and what its customer knows of it. */
export interface Asked {
  readonly jobId: string
  readonly type: 'CountPrimes' | 'SendMail' | 'Slugify'
  readonly fate: string
  /** What cancelling it answered, and when that was. */
  canceled?: { readonly answer: unknown; readonly at: number }
  state?: string
  result?: unknown
  attempts: number
  progress: number
}

/** Those who submit jobs, some of them twice, cancel some, and look how far they are. */
export interface Customers {
  readonly asked: readonly Asked[]
  /** Progress that was less than somebody had seen before. */
  readonly backwards: readonly string[]
  /** Submits so many, with any priority; some it cancels at once, some in a moment. */
  submit(count: number): Promise<void>
  /** Reads all that have not ended, and cancels what hangs. @returns How many have not. */
  look(): Promise<number>
}

const ENDED = ['done', 'failed', 'canceled']
/** Primes below are 9592, in some ten steps of progress. */
const BELOW = 100_000

export function createCustomers(ask: Ask, random: Random): Customers {
  const asked: Asked[] = []
  const backwards: string[] = []
  const isHanging = (one: Asked) => one.fate === 'hang' && one.state === 'running' && !one.canceled

  async function cancel(one: Asked): Promise<void> {
    const at = performance.now()
    one.canceled = { answer: await ask({ action: 'cancel', jobId: one.jobId }), at }
  }
  function draw(): readonly [Asked, input: unknown] {
    const jobId = `job-${asked.length}`
    const job = { jobId, attempts: 0, progress: 0 }
    const kind = random.integer(0, 10)
    if (kind < 3) return [{ ...job, type: 'CountPrimes', fate: 'ok' }, { below: BELOW }]
    if (kind < 5) return [{ ...job, type: 'Slugify', fate: 'ok' }, `The Job ${jobId}`]
    const fate = random.pick(FATES)
    return [
      { ...job, type: 'SendMail', fate },
      { to: 'ada@example.com', text: fate },
    ]
  }
  async function submitOne(): Promise<void> {
    const [one, input] = draw()
    asked.push(one)
    const priority = random.pick(['high', 'normal', 'low'])
    const request = { action: 'submit', type: one.type, input, jobId: one.jobId, priority }
    const chance = random.integer(0, 10)
    await ask(request)
    if (chance === 0) await ask(request)
    if (chance === 1) await cancel(one)
    if (chance === 2) {
      await sleep(random.integer(0, 100))
      await cancel(one)
    }
  }
  async function lookAt(one: Asked): Promise<void> {
    const job = (await ask({ action: 'read', jobId: one.jobId })) as Asked | undefined
    if (!job) return
    if (job.progress < one.progress) backwards.push(`${one.jobId}: ${one.progress}, then ${job.progress}`)
    Object.assign(one, { state: job.state, result: job.result, progress: job.progress, attempts: job.attempts })
    if (isHanging(one)) await cancel(one)
  }
  return {
    asked,
    backwards,
    submit: async (count) => void (await Promise.all(Array.from({ length: count }, submitOne))),
    async look() {
      const open = asked.filter(({ state = '' }) => !ENDED.includes(state))
      await Promise.all(open.map(lookAt))
      return open.length
    },
  }
}

/** The type that no poller knows. */
export const configure = (ask: Ask) =>
  ask({ action: 'configure', type: 'Slugify', input: { functionName: FUNCTION, maxDeliveries: 10 } })

/** What of all this is not as it should be. A process that was killed may have been one that heard of a cancellation late. */
export function faultsOf(asked: readonly Asked[], { mails, invoked }: Services): string[] {
  return asked.flatMap((one) => {
    const { jobId, type, fate, state, result, attempts, canceled } = one
    const text = JSON.stringify(result)
    const faults: string[] = []
    const fault = (what: string) => faults.push(`${jobId}, ${type} ${fate}: ${what}`)
    if (!ENDED.includes(state ?? '')) fault(`is ${state}`)
    if (state === 'canceled' && !canceled) fault('is canceled, and nobody asked for it')
    if (canceled?.answer === 'canceled' && state !== 'canceled') fault(`was canceled, and is ${state}`)
    if (state === 'done' && type === 'CountPrimes' && text !== '{"primes":9592}') fault(`answered ${text}`)
    if (state === 'done' && type === 'Slugify' && text !== `{"slug":"the-job-${jobId}"}`) fault(`answered ${text}`)
    if (state === 'done' && (fate === 'refused' || fate === 'hang')) fault('is done')
    if (state === 'failed' && fate !== 'refused') fault('failed')
    const own = mails.filter((mail) => mail.jobId === jobId)
    if (state === 'done' && type === 'SendMail' && own.length === 0) fault('is done, and no mail came')
    const isNever = canceled?.answer === 'canceled' && attempts === 0
    if (isNever && own.length + invoked.filter((id) => id === jobId).length > 0) fault('was canceled, and started')
    return faults
  })
}

/** How long after its cancellation the last of its mails was given up, in milliseconds. */
export function delayOf({ jobId, fate, canceled }: Asked, { mails }: Services): number {
  const last = mails.filter((mail) => mail.jobId === jobId).at(-1)
  if (fate !== 'hang' || canceled?.answer !== 'canceling' || last === undefined) return 0
  return (last.goneAt ?? Infinity) - canceled.at
}
