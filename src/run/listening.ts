import { wrongUseError } from '../core/options.ts'
import type { Consumer } from '../define/consumer.ts'
import { quotedValue } from '../errors.ts'
import type { WorkEnd } from './consumer-run.ts'

/** How a poller listens; made by `listening`. */
export interface Listening {
  /** For pollers only. */
  listen(run: object): Promise<WorkEnd>
}

/** @throws {TypeError} Not what `listening` makes, or none although a consumer needs it. */
export function assertListening(
  action: string,
  listening: Listening | undefined,
  consumers: readonly Consumer[],
): void {
  if (listening !== undefined) {
    if (typeof listening?.listen === 'function') return
    throw wrongUseError(action, 'listen must come from listening()')
  }
  for (const { group, settings } of consumers)
    if (settings.mode === 'listen' || (settings.lingerMs > 0 && settings.mode !== 'once'))
      throw wrongUseError(action, `mode listen and lingerMs of group ${quotedValue(group)} need listen: listening()`)
}
