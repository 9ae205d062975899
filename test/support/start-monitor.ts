import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Redis } from 'ioredis'

/** A command as MONITOR shows it, and where it comes from: an address, or `lua` within a script. */
type Shown = (command: string[], source: string) => void

/**
 * Calls back with every command that the client's server runs from now on, over a connection of its own. Not ioredis' `monitor()`: it fails
 * where another client's command comes in one packet with the answer to MONITOR.
 *
 * @returns What ends it.
 */
export async function startMonitor(client: Redis, show: Shown): Promise<() => void> {
  await client.ping() // or its own handshake would be shown
  const { port, host } = client.options
  const socket = connect(port as number, host as string)
  const lines = createInterface({ input: socket, crlfDelay: Infinity })
  const isStarted = once(lines, 'line')
  socket.write('MONITOR\r\n')
  lines.on('line', (line) => {
    const [, source = '', words] = /^\+\S+ \[\d+ ([^\]]+)\] "(.*)"$/.exec(line) ?? []
    if (words !== undefined) show(words.split('" "').map(unescaped), source)
  })
  const [answer] = await isStarted
  if (answer !== '+OK') throw new Error(`Cannot start MONITOR: ${answer}`)
  return () => socket.destroy()
}

function unescaped(word: string): string {
  return word.replaceAll('\\"', '"')
}
