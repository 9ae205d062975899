// Functions that do one thing each.
import { setTimeout as delay } from 'node:timers/promises'

export const echo = async ({ Records }) => {
  console.log(`given ${JSON.stringify(Records)}`)
}

export const throwing = async () => {
  throw new RangeError('out of paper')
}

export const dying = async () => process.exit(1)

export const endless = () => new Promise(() => setInterval(() => {}, 1_000))

export const slow = async () => {
  await delay(2_000)
}

export const chatty = async () => ({ statusCode: 200, body: 'OK' })

/** Fails what is not the first of its request. */
export const pickingFirst = async ({ Records: [, ...others] }) => ({
  batchItemFailures: others.map(({ messageId }) => ({ itemIdentifier: messageId })),
})
