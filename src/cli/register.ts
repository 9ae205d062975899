import type { Connection } from '../group/connection.ts'
import { registeredGroups, registerGroups, unregisterGroups } from '../janitor/register.ts'
import { keepingLines } from './keeping-lines.ts'
import { REGISTER_USAGE, type RegisterOptions, readRegisterOptions } from './register-options.ts'
import { connectInspectionTargets, streamsOf } from './targets.ts'
import { printableJson, printableName } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

/**
 * `millrace register`: registers a group of a stream, takes it off, or lists what is registered.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {MillraceError} The server refused, or could not be reached.
 */
export async function run(args: readonly string[]): Promise<void> {
  const options = readRegisterOptions(args)
  if (options === undefined) return console.log(REGISTER_USAGE)
  const { priorities, redis: url } = options
  const target = { redis: url, ...(priorities !== undefined && { stream: [options.stream], priorities }) }
  const { redis, sets } = await connectInspectionTargets('register', [], target)
  const streams = streamsOf([options.stream], sets)
  try {
    for (const stream of streams) await registerOne({ ...options, stream }, redis, streams.length > 1)
  } catch (cause) {
    const isWrongUse = cause instanceof TypeError || cause instanceof RangeError
    throw isWrongUse ? new UsageError(`millrace register: ${cause.message}`, { cause }) : cause
  } finally {
    await redis.close()
  }
}

async function registerOne(options: RegisterOptions, redis: Connection, isOfSet: boolean): Promise<void> {
  const { stream, group, registration, json } = options
  if (group !== undefined && registration) await registerGroups(stream, { [group]: registration }, { redis })
  else if (group !== undefined) await unregisterGroups(stream, [group], { redis })
  const registered = Object.fromEntries(await registeredGroups(stream, { redis }))
  if (json) return console.log(printableJson(isOfSet ? { stream, registered } : registered))
  if (isOfSet && Object.keys(registered).length > 0) console.log(`${printableName(stream)}:`)
  for (const line of keepingLines({ registered, unregistered: [], lost: [] })) console.log(line)
  if (Object.keys(registered).length === 0) console.log(`no group of ${printableName(stream)} is registered`)
}
