import type { IoredisClient } from './ioredis-client.ts'

/** Waits until a client would need no queue. @throws {Error} It ended instead. */
export const waitForClient = onePerClient(async (client) => {
  if (client.status === undefined || client.status === 'ready') return
  if (client.status === 'wait') client.connect?.().catch(() => {})
  await readyOrEnded(client)
})

/** Waits until a node of a cluster takes commands: it tries once. @throws {Error} It does not. */
export const waitForClusterNode = onePerClient(async (node) => {
  if (node.status === 'wait' || node.status === 'end') await node.connect?.()
  else await readyOrEnded(node)
})

/** One wait for all who need a client: an emitter warns of many listeners. */
function onePerClient(wait: (client: IoredisClient) => Promise<void>): (client: IoredisClient) => Promise<void> {
  const waits = new WeakMap<IoredisClient, Promise<void>>()
  return (client) => {
    const waiting = waits.get(client) ?? wait(client).finally(() => waits.delete(client))
    waits.set(client, waiting)
    return waiting
  }
}

/** A client that never settles is given up, with its listeners. */
async function readyOrEnded(client: IoredisClient): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const ended = () => reject(new Error('Connection is closed.'))
  client.on('ready', resolve)
  client.on('end', ended)
  await promise.finally(() => {
    client.removeListener?.('ready', resolve)
    client.removeListener?.('end', ended)
  })
}
