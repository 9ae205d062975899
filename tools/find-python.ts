import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What may take a while: a package is fetched. */
const INSTALL_TIMEOUT_MS = 300_000

const APT_INSTALL = ['apt-get', 'install', '-y', '--no-install-recommends', 'python3']

/** Commands that install it, each of a kind of machine; the first that works is enough. */
const INSTALLERS: readonly (readonly string[])[] = [
  APT_INSTALL,
  ['sudo', '-n', ...APT_INSTALL],
  ['brew', 'install', 'python3'],
]

/**
 * The name of a Python 3, installed with apt-get or brew where there is none.
 *
 * @throws {Error} There is none, and none could be installed.
 */
export async function findPython(): Promise<string> {
  if (await isThere()) return 'python3'
  for (const [program = '', ...args] of INSTALLERS) {
    await run(program, args, { timeout: INSTALL_TIMEOUT_MS }).catch(() => {})
    if (await isThere()) return 'python3'
  }
  throw new Error(
    'Cannot run Python: no python3 in PATH, and neither apt-get nor brew could install it; install python3',
  )
}

function isThere(): Promise<boolean> {
  return run('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 8))']).then(
    () => true,
    () => false,
  )
}
