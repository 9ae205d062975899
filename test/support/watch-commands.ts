import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { startMonitor } from './start-monitor.ts'

/** What a server runs, commands within scripts too, as a second client sees it with MONITOR. */
export interface CommandWatch {
  /** Every command so far, its name in lower case, then its arguments. */
  seen(): Promise<readonly (readonly string[])[]>
  /** Those that a client sent: none within a script. */
  sent(): Promise<readonly (readonly string[])[]>
}

/** Watches until the test is over. */
export async function watchCommands(url: string): Promise<CommandWatch> {
  const client = new Redis(url, { enableReadyCheck: false, disableClientInfo: true })
  const commands: string[][] = []
  const inScripts = new Set<readonly string[]>()
  const waiting = new Map<string, () => void>()
  const stop = await startMonitor(client, ([name = '', ...args], source) => {
    if (args[0] !== undefined && waiting.has(args[0])) return waiting.get(args[0])?.()
    const command = [name.toLowerCase(), ...args]
    commands.push(command)
    if (source === 'lua') inScripts.add(command)
  })
  onTestFinished(() => {
    client.disconnect()
    stop()
  })
  const seen = async () => {
    const marker = randomUUID()
    const shown = new Promise<void>((resolve) => waiting.set(marker, resolve))
    await client.echo(marker)
    await shown
    return commands
  }
  return { seen, sent: async () => (await seen()).filter((command) => !inScripts.has(command)) }
}
