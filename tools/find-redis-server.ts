import { findInPath, findOrInstall, isExecutable } from './install-once.ts'

const PROGRAM = 'redis-server'

/**
 * Finds a redis-server to run, and installs one without asking if there is none: `MILLRACE_REDIS_SERVER`, then along `PATH`, then with apt-get or brew.
 *
 * @returns The program's path.
 * @throws {Error} `MILLRACE_REDIS_SERVER` names no program, nothing here can install one, or the installation failed.
 */
export async function findRedisServer(): Promise<string> {
  const chosen = process.env.MILLRACE_REDIS_SERVER
  if (chosen) {
    if (await isExecutable(chosen)) return chosen
    throw new Error(`Cannot find redis-server: MILLRACE_REDIS_SERVER must name a program, got "${chosen}"`)
  }
  return findOrInstall({
    name: PROGRAM,
    find: () => findInPath(PROGRAM),
    aptPackages: [PROGRAM],
    brewFormula: 'redis',
    howToInstall:
      'Install Redis 6.2 or newer ("apt-get install redis-server", "brew install redis"), or name one in MILLRACE_REDIS_SERVER',
  })
}
