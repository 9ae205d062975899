import { quotedValue } from '../errors.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { UsageError } from './usage-error.ts'

export interface DevOptions {
  /** A packaged template to run. Default: packages the service of the working folder. */
  readonly template: string | undefined
  /** Default: a private redis-server. */
  readonly redis: string | undefined
  readonly environment: Readonly<Record<string, string>>
  /** Every schedule's period instead of its own. */
  readonly everySeconds: number | undefined
  readonly stage: string | undefined
  readonly help: boolean
}

export const DEV_USAGE = `millrace dev [--redis URL] [--env KEY=VALUE]... [--every SECONDS] [--stage NAME] [--template FILE]

Packages the service of this folder and runs its functions as Lambda would: in processes of their own, frozen between
invocations, killed at their timeout and memory limit, woken by their schedules. Packages again when a source changes.

  --redis URL       the Redis of the functions, as REDIS_URL (default: a private redis-server from PATH)
  --env KEY=VALUE   a variable of every function, over those of the template; may be repeated
  --every SECONDS   wakes every scheduled function that often instead of as its schedule says
  --stage NAME      the stage to package
  --template FILE   runs what is packaged already: cloudformation-template-update-stack.json with the zip files beside it`

/** @throws {UsageError} An unknown option, or a value that is none. */
export function readDevOptions(args: readonly string[]): DevOptions {
  const { template, redis, env, every, stage, help } = parse(args)
  if (redis !== undefined && !/^rediss?:$/.test(URL.parse(redis)?.protocol ?? ''))
    throw new UsageError('millrace dev: --redis must be a redis:// or rediss:// URL')
  return {
    template,
    redis,
    stage,
    help,
    environment: Object.fromEntries(env.map(readVariable)),
    everySeconds: every === undefined ? undefined : readSeconds(every),
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const options = {
    template: text,
    redis: text,
    env: { type: 'string', multiple: true, default: [] as string[] },
    every: text,
    stage: text,
    help: { type: 'boolean', short: 'h', default: false },
  } as const
  return parseCommandLine({ name: 'dev', usage: DEV_USAGE }, args, options, false).values
}

function readVariable(text: string): [string, string] {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? []
  // what was given is not shown: it may be a secret whose name was forgotten
  if (name === undefined || value === undefined) throw new UsageError('millrace dev: --env must be KEY=VALUE')
  return [name, value]
}

function readSeconds(text: string): number {
  const seconds = Number(text)
  if (text.trim() !== '' && seconds > 0 && seconds <= 86_400) return seconds
  throw new UsageError(`millrace dev: --every must be a number of seconds, at most 86400, got ${quotedValue(text)}`)
}
