import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { readOptions } from '../../soak/options.ts'

const root = join(import.meta.dirname, '../..')
/** It runs for some seconds, entries that kill are retried when leases end, and machines are busy. */
const PATIENCE_MS = 180_000

describe.concurrent('npm run soak', { timeout: PATIENCE_MS }, () => {
  test('ends well, with a table, and leaves nothing behind', async ({ expect }) => {
    const ran = await runSoak(['--seconds', '5', '--seed', '4'])

    expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
    expect(ran.stdout).toMatch(/^Redis on port \d+, 7 processes, seed 4$/m)
    const { published, handled, lost, ...counts } = tableIn(ran.stdout)
    expect(lost).toBe(0)
    // an entry that was handled may be dead-lettered too, where its acks were lost
    expect(handled + counts.letters).toBeGreaterThanOrEqual(counts.entries)
    expect(published).toBeGreaterThan(100)
    expect(counts.faults).toBeGreaterThan(0)
    expect(ran.stdout).toMatch(/\nEvery promise was kept\nAgain: npm run soak -- --seconds 5 --seed 4\n$/)
    expect(ran.stillRunning).toEqual([])
  })

  test('watches over a group that keeps the order of keys beside it', async ({ expect }) => {
    const ran = await runSoak(['--seconds', '5', '--seed', '6', '--ordered'])

    expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [], stillRunning: [] })
    expect(ran.stdout).toMatch(/^in order: calls +[1-9]\d+$/m)
    expect(ran.stdout).toMatch(/\nAgain: npm run soak -- --seconds 5 --seed 6 --ordered\n$/)
  })

  test('fails where somebody takes entries away, and names them', async ({ expect }) => {
    const stolen: string[] = []
    const ran = await runSoak(['--seconds', '5', '--seed', '5'], async (port) => {
      stolen.push(...(await stealEntries(port)))
    })

    expect(ran).toMatchObject({ status: 1, stderr: '', leftFiles: [], stillRunning: [] })
    expect(tableIn(ran.stdout).lost).toBe(stolen.length)
    for (const id of stolen) expect(ran.stdout).toMatch(new RegExp(`^  no entry is lost: ${id}: \\w+, 0 calls$`, 'm'))
    expect(ran.stdout).toMatch(/\nPromises were broken\nAgain: npm run soak -- --seconds 5 --seed 5\n$/)
  })

  test.for<[string, NodeJS.Signals, 1 | -1]>([
    ['Ctrl-C, which reaches its server and its processes, too', 'SIGINT', -1],
    ['SIGTERM', 'SIGTERM', 1],
  ])('stops in order on %s', async ([, signal, group], { expect }) => {
    const ran = await runSoak(['--seconds', '60'], async (_port, pid) => void process.kill(group * pid, signal))

    expect(ran).toMatchObject({
      status: 130,
      stderr: 'Stopped before it was done\n',
      leftFiles: [],
      stillRunning: [],
    })
  })
})

describe('readOptions()', () => {
  test('runs for ten minutes with a seed of its own', () => {
    const { seed, ...options } = readOptions([])

    expect(options).toEqual({
      seconds: 600,
      notes: undefined,
      outageMs: undefined,
      janitor: false,
      ordered: false,
      help: false,
    })
    expect(Number.isInteger(seed)).toBe(true)
    expect(readOptions(['--seconds', '60', '--seed', '7'])).toMatchObject({ seconds: 60, seed: 7 })
  })

  test.each([
    [['--seconds', '0'], '--seconds must be a whole number from 1 to 86400, got "0"'],
    [['--seed', '-1'], /seed/],
    [['--minutes', '1'], /--minutes/],
  ])('refuses %j', (args, message) => {
    expect(() => readOptions(args)).toThrow(message)
  })
})

interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  /** What is left in its temporary directory. */
  readonly leftFiles: readonly string[]
  /** Commands of its processes that outlived it. */
  readonly stillRunning: readonly string[]
}

type Interfere = (port: number, pid: number) => Promise<void>

/** Runs the soak to its end; what interferes does so once entries come. */
async function runSoak(args: readonly string[], interfere?: Interfere): Promise<Ran> {
  const temporary = await mkdtemp(join(tmpdir(), 'millrace-soak-test-'))
  const { PATH = '', MILLRACE_REDIS_SERVER = '' } = process.env
  const child = spawn(process.execPath, ['soak/main.ts', ...args], {
    cwd: root,
    env: { PATH, MILLRACE_REDIS_SERVER, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
    // a process group of its own, as a terminal would give it
    detached: true,
  })
  const printed = { stdout: '', stderr: '' }
  const closed = once(child, 'close') as Promise<[number | null]>
  let interfered: Promise<void> | undefined
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    printed.stderr += chunk
  })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    printed.stdout += chunk
    const port = /^Redis on port (\d+)/m.exec(printed.stdout)?.[1]
    if (port && interfere) interfered ??= interfere(Number(port), child.pid as number)
  })
  const [status] = await closed
  await interfered
  const port = /^Redis on port (\d+)/m.exec(printed.stdout)?.[1]
  const stillRunning = await processesWith(temporary, `127.0.0.1:${port}`)
  const leftFiles = await readdir(temporary)
  await rm(temporary, { recursive: true })
  return { status, ...printed, leftFiles, stillRunning }
}

/** Commands of running processes that hold one of the texts: a worker's has its directory, a server's its port. */
async function processesWith(...texts: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'args='])
  return stdout.split('\n').filter((command) => texts.some((text) => command.includes(text)))
}

/** Reads new entries as one of the pollers would, and acknowledges them unhandled; answers their ids. */
async function stealEntries(port: number): Promise<string[]> {
  const redis = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 50, protocol: 2, replyMapping: 'legacy' })
  redis.on('error', () => {})
  try {
    for (;;) {
      const reply = await redis
        .multi()
        .xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
        .exec()
        .catch(() => null)
      const [[, entries]] = (reply?.[0]?.[1] ?? [['', []]]) as [[string, [string][]]]
      const ids = entries.map(([id]) => id)
      if (ids.length > 0 && (await redis.xack('orders', 'billing', ...ids)) === ids.length) return ids
      await sleep(5)
    }
  } finally {
    redis.disconnect()
  }
}

/** The numbers of the table that the tests compare. */
function tableIn(stdout: string) {
  const number = (name: string) => Number(new RegExp(`^${name} +(\\d+)$`, 'm').exec(stdout)?.[1])
  return {
    published: number('published'),
    entries: number('entries in the stream'),
    handled: number('handled at least once'),
    letters: number('dead letters'),
    lost: number('lost'),
    faults: number('faults injected'),
  }
}
