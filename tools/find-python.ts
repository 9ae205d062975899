import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { findInPath, findOrInstall } from './install-once.ts'

const run = promisify(execFile)

/** The system's own comes second: packages of Debian are for it, and another one may stand before it in PATH. */
const PROGRAMS = ['python3', '/usr/bin/python3']

/**
 * The path of a Python 3, installed with apt-get or brew where there is none.
 *
 * @throws {Error} There is none, and none could be installed.
 */
export function findPython(): Promise<string> {
  return findOrInstall({
    name: 'Python 3.8 or newer',
    find: () => findPythonThat('import sys; sys.exit(sys.version_info < (3, 8))'),
    aptPackages: ['python3'],
    brewFormula: 'python3',
    howToInstall: 'Install python3',
  })
}

/**
 * The path of a Python 3 that can `import redis`, as Debian's package python3-redis has it.
 *
 * @throws {Error} There is none, and none could be installed.
 */
export function findPythonWithRedis(): Promise<string> {
  return findOrInstall({
    name: 'a Python 3 with redis-py',
    find: () => findPythonThat('import redis; redis.Redis.from_url'),
    aptPackages: ['python3', 'python3-redis'],
    howToInstall: 'Install redis-py ("apt-get install python3-redis", "python3 -m pip install redis")',
  })
}

async function findPythonThat(program: string): Promise<string | undefined> {
  for (const name of PROGRAMS) {
    const path = name.startsWith('/') ? name : await findInPath(name)
    const isRight = path !== undefined && (await answersYes(path, program))
    if (isRight) return path
  }
  return undefined
}

function answersYes(python: string, program: string): Promise<boolean> {
  return run(python, ['-c', program]).then(
    () => true,
    () => false,
  )
}
