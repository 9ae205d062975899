import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { killChildGroupOnExit, signalProcessGroup } from './guard.ts'

const HOST = '127.0.0.1'
const PROGRAM = 'redis-server'
const ATTEMPTS = 10
const STOP_TIMEOUT_MS = 2_000

/** A Redis in memory, on loopback, that is gone when this process is. */
export interface PrivateRedis {
  readonly url: string
  stop(): Promise<void>
}

/**
 * Starts redis-server, as found in PATH, on a free port.
 *
 * @throws {Error} There is none, or it does not start; the message ends with what it printed.
 */
export async function startPrivateRedis(): Promise<PrivateRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-dev-redis-'))
  const removeDir = () => rm(dir, { recursive: true, force: true })
  try {
    const { child, port } = await launch(dir)
    return {
      url: `redis://${HOST}:${port}`,
      async stop() {
        await stop(child)
        await removeDir()
      },
    }
  } catch (error) {
    await removeDir()
    throw error
  }
}

/** Between choosing a port and binding it another process may take it, so there are several attempts. */
async function launch(dir: string): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort()
    const args = ['--port', `${port}`, '--bind', HOST, '--dir', dir, '--save', '', '--appendonly', 'no']
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
    killChildGroupOnExit(child)
    const failure = await waitUntilReady(child)
    if (failure === undefined) return { child, port }
    if (!failure.includes('Address already in use') || attempt === ATTEMPTS)
      throw new Error(`Cannot start a private Redis: ${failure}`)
  }
}

/** Resolves to nothing once it takes connections, or to why it never will. */
function waitUntilReady(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    const printed: string[] = []
    child.once('error', (error: NodeJS.ErrnoException) =>
      resolve(
        error.code === 'ENOENT'
          ? `no ${PROGRAM} in PATH; install one, or name a Redis with --redis URL`
          : error.message,
      ),
    )
    child.once('close', () => resolve(printed.slice(-5).join('\n')))
    if (!child.stdout) return
    createInterface(child.stdout).on('line', (line) => {
      printed.push(line)
      if (line.includes('Ready to accept connections')) resolve(undefined)
    })
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  const killer = setTimeout(() => signalProcessGroup(child, 'SIGKILL'), STOP_TIMEOUT_MS)
  signalProcessGroup(child, 'SIGTERM')
  await exited
  clearTimeout(killer)
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
