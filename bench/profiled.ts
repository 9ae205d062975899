import { writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import type { Around } from './measure.ts'

const INTERVAL_US = 200

/** Writes a CPU profile of what runs within it to a file, as `node --cpu-prof` does of a whole process. */
export function profiled(file: string): Around {
  return async (work) => {
    const session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: INTERVAL_US })
    await session.post('Profiler.start')
    await work()
    const { profile } = await session.post('Profiler.stop')
    session.disconnect()
    await writeFile(file, JSON.stringify(profile))
  }
}
