import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import type { FunctionDefinition } from '../../src/local/definitions.ts'
import { createService, type Service, type ServiceOptions } from '../docs/service/functions.ts'
import { type ObservedLambda, startLambda } from './local-lambda.ts'
import type { Scenario } from './scenario.ts'

const PAGE = join(import.meta.dirname, '../../docs/runbook.md')
const SERVICE = join(import.meta.dirname, '../docs/service')

/** A command of the page, and lines of what it prints; `…` stands for anything. */
interface Shown {
  readonly command: string
  readonly lines: readonly string[]
}

/** A section of the page: how a cause shows, what fixes it, and how one sees that it did. */
interface Cause {
  readonly looks: readonly Shown[]
  readonly fixes: readonly string[]
  /** Numbers that its programs set, by name. */
  readonly settings: Readonly<Record<string, number>>
  readonly results: readonly Shown[]
}

export const page = await readFile(PAGE, 'utf8')

/** Commands that were run in the test. */
let ran = new Set<string>()

/** The section of that title; the test has to run all its commands. */
export function causeOf(title: string): Cause {
  const cause = readCause(title)
  const { looks, fixes, results } = cause
  ran = new Set()
  onTestFinished(({ task }) => {
    if (task.result?.state === 'fail') return
    const commands = [...looks, ...results].map(({ command }) => command)
    expect([...commands, ...fixes].filter((command) => !ran.has(command))).toEqual([])
  })
  return cause
}

function readCause(title: string): Cause {
  const [, section] = page.split(`\n### ${title}\n`)
  if (section === undefined) throw new Error(`The runbook has no section "${title}"`)
  const [before = '', after = ''] = (section.split(/\n##+ /)[0] ?? '').split('\n**Fix.**')
  const [fix = '', worked = ''] = after.split('\n**Seen by.**')
  const programs = [...fix.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code).join('\n')
  const numbers = [...programs.matchAll(/(\w+): ([\d_]+)\b/g)]
  return {
    looks: shownIn(before),
    fixes: commandsIn(fix),
    settings: Object.fromEntries(numbers.map(([, name = '', value = '']) => [name, Number(value.replaceAll('_', ''))])),
    results: shownIn(worked),
  }
}

/** Commands that have their output below them. */
function shownIn(text: string): Shown[] {
  return [...text.matchAll(/```sh\n(.*?)\n```\n+```text\n(.*?)```/gs)].map(([, command = '', output = '']) => ({
    command,
    lines: output.split('\n').filter((line) => line.trim() !== ''),
  }))
}

function commandsIn(text: string): string[] {
  return [...text.matchAll(/```sh\n(.*?)\n```/gs)].flatMap(([, commands = '']) => commands.split('\n'))
}

/** What in a line differs from run to run is left out: ids, times, ages, sizes, and numbers of two digits and more. */
function masked(line: string): string {
  return line
    .trim()
    .replace(/\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b/g, 'UUID')
    .replace(/\b\d{13}-\d+\b/g, 'ID')
    .replace(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/<1s|\b\d+[dhms]( \d+[dhms])?\b/g, 'AGE')
    .replace(/\b\d[\d,.]* (ms|s|min|h|d)\b/g, 'AGE')
    .replace(/\b\d[\d,.]* (B|KB|MB|GB)\b/g, 'SIZE')
    .replace(/\b\d[\d,]*\d\b/g, 'N')
    .replace(/\s+/g, ' ')
}

/** Whoever is on call: types the page's commands at a server and its functions. */
interface Desk {
  /** Runs a command, its words in capitals replaced; what it printed. */
  run(command: string, words?: Readonly<Record<string, string>>): Promise<string[]>
  /** Runs it, and finds the page's lines in what it prints, in that order. */
  sees(shown: Shown | undefined, words?: Readonly<Record<string, string>>): Promise<string[]>
  /** Puts the service's functions in place. */
  deploy(options: ServiceOptions, timeoutMs?: number): void
  /** Invokes one. */
  invoke(name: FunctionName): Promise<string[]>
  /** Puts one into a Lambda, as a process of its own. */
  deployLambda(name: FunctionName, options?: ServiceOptions, more?: Partial<FunctionDefinition>): Promise<void>
}

const FUNCTIONS = {
  'shop-prod-ordersPoller': 'poller',
  'shop-prod-ordersClaimer': 'claimer',
  'shop-prod-notifyShipping': 'notify',
} as const

type FunctionName = keyof typeof FUNCTIONS

const COMMANDS: Readonly<Record<string, () => Promise<{ run(args: string[], signal: AbortSignal): Promise<void> }>>> = {
  status: () => import('../../dist/cli/status.js'),
  tail: () => import('../../dist/cli/tail.js'),
  doctor: () => import('../../dist/cli/doctor.js'),
  plan: () => import('../../dist/cli/plan.js'),
  dlq: () => import('../../dist/cli/dlq.js'),
  resume: () => import('../../dist/cli/resume.js'),
}

/** The commands of the program run in this process, since it is started too often here. */
export function deskAt({ server, raw }: Scenario): Desk {
  const log: string[] = []
  let lambda: ObservedLambda | undefined
  let service: Service | undefined
  let timeoutMs = 30_000
  onTestFinished(() => service?.close())

  async function deployLambda(
    name: FunctionName,
    options: ServiceOptions = {},
    more: Partial<FunctionDefinition> = {},
  ) {
    lambda ??= await startLambda({ functions: [] })
    for (const [variable, value] of Object.entries({ ...CREDENTIALS, AWS_ENDPOINT_URL_LAMBDA: lambda.url }))
      vi.stubEnv(variable, value)
    onTestFinished(() => void vi.unstubAllEnvs())
    const definition = {
      name,
      handler: `lambda.${FUNCTIONS[name]}`,
      codeFolder: SERVICE,
      timeoutMs: 20_000,
      memoryMb: 256,
    }
    await lambda.deploy({
      ...definition,
      ...more,
      environment: { REDIS_URL: server.url, OPTIONS: JSON.stringify(options) },
    })
  }

  async function invoke(name: FunctionName) {
    const deadline = performance.now() + timeoutMs
    const context = {
      awsRequestId: 'request-1',
      functionName: name,
      getRemainingTimeInMillis: () => deadline - performance.now(),
    }
    if (lambda && !service) return [JSON.stringify((await lambda.invoke(name))?.payload)]
    const handler = service?.[FUNCTIONS[name] as 'poller']
    const { lines, result } = await printedBy(() => handler?.({}, context))
    log.push(...lines.map((line) => `${name} ${line}`))
    return [JSON.stringify(result)]
  }

  const programs: Readonly<Record<string, (args: readonly string[]) => Promise<readonly string[]>>> = {
    async npx([program, command = '', ...args]) {
      expect(program).toBe('millrace')
      const own = [...args, '--redis', server.url].map((arg) => (arg === 'consumer.ts' ? join(SERVICE, arg) : arg))
      const given = command === 'plan' ? own.slice(0, -2) : own
      const { lines } = await printedBy(async () =>
        (await COMMANDS[command]?.())?.run(given, new AbortController().signal),
      )
      process.exitCode = undefined
      return lines
    },
    async 'redis-cli'([flag, url, name = '', ...args]) {
      expect([flag, url]).toEqual(['-u', '$REDIS_URL'])
      return [await raw.call(name, ...args)].flat(9).map(String)
    },
    async aws([service, action, ...args]) {
      const options = optionsOf(args)
      const name = (options['function-name'] ?? args[0]?.split('/').at(-1)) as FunctionName
      if (service === 'logs' && action === 'tail')
        return log.filter(
          (line) => line.startsWith(`${name} `) && line.includes(options['filter-pattern']?.replaceAll('"', '') ?? ''),
        )
      if (action === 'put-function-concurrency') {
        await deployLambda(name, {}, { reservedConcurrency: Number(options['reserved-concurrent-executions']) })
        return []
      }
      expect([service, action, args.at(-1)]).toEqual(['lambda', 'invoke', '/dev/stdout'])
      return invoke(name)
    },
  }

  async function run(command: string, words: Readonly<Record<string, string>> = {}) {
    ran.add(command)
    const [program = '', ...args] = wordsOf(command).map((word) => words[word] ?? word)
    return [...((await programs[program]?.(args)) ?? [])]
  }

  return {
    run,
    invoke,
    deployLambda,
    deploy(options, limitMs = 30_000) {
      void service?.close()
      service = createService(server.url, options)
      timeoutMs = limitMs
    },
    async sees(shown, words) {
      if (shown === undefined) throw new Error('The page does not show that')
      const printed = await run(shown.command, words)
      if (process.env.RUNBOOK_PRINT) process.stderr.write(['', `$ ${shown.command}`, ...printed, ''].join('\n'))
      const rest = printed.map(masked)
      for (const line of shown.lines) {
        const at = rest.findIndex((text) => patternOf(line).test(text))
        if (at < 0)
          expect.fail(
            `${shown.command}\nprints no line (any more) like\n${masked(line)}\nin\n${printed.map(masked).join('\n')}`,
          )
        rest.splice(0, at + 1)
      }
      return printed
    },
  }
}

const CREDENTIALS = { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'anyone', AWS_SECRET_ACCESS_KEY: 'anything' }

/** What is printed meanwhile, and what it fails with, as lines. */
async function printedBy<T>(work: () => T): Promise<{ lines: string[]; result: Awaited<T> | undefined }> {
  let text = ''
  const write = (...parts: unknown[]) => {
    text += `${parts.join(' ')}\n`
  }
  const spies = (['log', 'info', 'warn', 'error'] as const).map((name) =>
    vi.spyOn(console, name).mockImplementation(write),
  )
  const streams = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      text += String(chunk)
      return true
    }),
  )
  let result: Awaited<T> | undefined
  try {
    result = await work()
  } catch (error) {
    write((error as Error).message)
  } finally {
    for (const spy of [...spies, ...streams]) spy.mockRestore()
  }
  return { lines: text.trimEnd().split('\n'), result }
}

function patternOf(line: string): RegExp {
  const parts = masked(line).split('…')
  return new RegExp(`^${parts.map((part) => part.trim().replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')}$`)
}

/** The words of a command line, without quotes. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  )
}

function optionsOf(args: readonly string[]): Record<string, string> {
  const options = args.flatMap((arg, at) => (arg.startsWith('--') ? [[arg.slice(2), args[at + 1] ?? '']] : []))
  return Object.fromEntries(options) as Record<string, string>
}

/** What a second client sees: entries, pending ones, and those that group `billing` has not read. */
export async function seenBy({ raw }: Scenario): Promise<{ length: number; pending: number; unread: number }> {
  const groups = (await raw.xinfo('GROUPS', 'orders')) as unknown[][]
  const group = groups.find((info) => info[1] === 'billing') ?? []
  const last = group[group.indexOf('last-delivered-id') + 1] as string
  const [pending] = (await raw.xpending('orders', 'billing')) as [number]
  return { length: await raw.xlen('orders'), pending, unread: (await raw.xrange('orders', `(${last}`, '+')).length }
}
