import { registeredGroups, registerGroups, unregisterGroups } from '../janitor/register.ts'
import { keepingLines } from './keeping-lines.ts'
import { REGISTER_USAGE, readRegisterOptions } from './register-options.ts'
import { connectInspectionTargets } from './targets.ts'
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
  const { stream, group, registration, json } = options
  const { redis } = await connectInspectionTargets('register', [], { redis: options.redis })
  try {
    if (group !== undefined && registration) await registerGroups(stream, { [group]: registration }, { redis })
    else if (group !== undefined) await unregisterGroups(stream, [group], { redis })
    const registered = Object.fromEntries(await registeredGroups(stream, { redis }))
    if (json) return console.log(printableJson(registered))
    for (const line of keepingLines({ registered, unregistered: [], lost: [] })) console.log(line)
    if (Object.keys(registered).length === 0) console.log(`no group of ${printableName(stream)} is registered`)
  } catch (cause) {
    const isWrongUse = cause instanceof TypeError || cause instanceof RangeError
    throw isWrongUse ? new UsageError(`millrace register: ${cause.message}`, { cause }) : cause
  } finally {
    await redis.close()
  }
}
