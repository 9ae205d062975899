// Asks for commands of chance, some of them twice. It may be killed at any time: what it asked for, and what it was answered, is nowhere but in the stream.
import { createRandom } from '../../../demo/random.ts'
import { execute } from '../../../examples/accounts/commands.ts'
import { drawCommand, openAll } from './draw.ts'

const random = createRandom(process.pid)
const AT_ONCE = 5

let asked = 0

export async function handler(): Promise<void> {
  if (asked === 0) await openAll(execute)
  const commands = Array.from({ length: AT_ONCE }, () => drawCommand(random, `r-${process.pid}-${asked++}`))
  const twice = commands.filter(() => random.integer(0, 3) === 0)
  await Promise.all([...commands, ...twice].map(execute))
}
