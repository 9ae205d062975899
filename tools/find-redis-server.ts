import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const PROGRAM = 'redis-server'
const COMMAND_TIMEOUT_MS = 300_000
const LOCK_POLL_MS = 250
const LOCK_TIMEOUT_MS = 600_000

/** What has to be held to install. A bound address is released by the system, however its holder dies. */
const LOCK_ADDRESS =
  process.platform === 'linux' ? { path: '\0millrace-install-redis-server' } : { host: '127.0.0.1', port: 46_379 }

/** RUNLEVEL=1 keeps Debian's package from starting a service of its own on port 6379. */
const APT_ENV = ['env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1']
const APT_INSTALL = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', PROGRAM]

/**
 * Finds a redis-server to run, and installs one without asking if there is none.
 *
 * Inspects `MILLRACE_REDIS_SERVER`, then along `PATH`, then installs with apt-get (as root or by a sudo that asks no
 * password) or brew. Any number of processes may call this at once: one installs, the others wait for it.
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
  return (await findInPath(PROGRAM)) ?? (await withInstallLock(findOrInstall))
}

async function findOrInstall(): Promise<string> {
  const installedMeanwhile = await findInPath(PROGRAM)
  if (installedMeanwhile) return installedMeanwhile
  const installer = await chooseInstaller()
  if (!installer) throw new Error(`Cannot find redis-server: it is not in PATH. ${HOW_TO_INSTALL}`)
  process.stderr.write(`redis-server is not in PATH: installing it with ${installer.name}\n`)
  try {
    await installer.install()
  } catch (cause) {
    throw new Error(`Cannot install redis-server with ${installer.name}. ${HOW_TO_INSTALL}`, { cause })
  }
  const installed = await findInPath(PROGRAM)
  if (!installed) throw new Error(`${installer.name} installed redis-server, but it is not in PATH. ${HOW_TO_INSTALL}`)
  return installed
}

const HOW_TO_INSTALL =
  'Install Redis 6.2 or newer ("apt-get install redis-server", "brew install redis"), or name one in MILLRACE_REDIS_SERVER'

interface Installer {
  readonly name: string
  install(): Promise<void>
}

async function chooseInstaller(): Promise<Installer | undefined> {
  if (await findInPath('apt-get')) {
    if (process.getuid?.() === 0) return { name: 'apt-get', install: () => installWithApt([]) }
    if (await isSudoWithoutPassword()) return { name: 'sudo apt-get', install: () => installWithApt(['sudo', '-n']) }
  }
  if (await findInPath('brew')) return { name: 'brew', install: () => execute(['brew', 'install', 'redis']) }
  return undefined
}

async function installWithApt(prefix: readonly string[]): Promise<void> {
  const aptGet = [...prefix, ...APT_ENV, 'apt-get']
  // One unreachable source fails the update though the others may well have the package: the installation decides.
  await execute([...aptGet, 'update']).catch(() => {})
  await execute([...aptGet, ...APT_INSTALL])
}

function isSudoWithoutPassword(): Promise<boolean> {
  return execute(['sudo', '-n', 'true']).then(
    () => true,
    () => false,
  )
}

async function execute([program = '', ...args]: readonly string[]): Promise<void> {
  await run(program, args, { timeout: COMMAND_TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 })
}

async function findInPath(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder || '.', program)
    if (await isExecutable(path)) return path
  }
  return undefined
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** Runs `work` while no other process of this machine runs its own. */
async function withInstallLock<T>(work: () => Promise<T>): Promise<T> {
  const lock = await takeInstallLock()
  try {
    return await work()
  } finally {
    lock.close()
  }
}

async function takeInstallLock(): Promise<Server> {
  const giveUpAt = Date.now() + LOCK_TIMEOUT_MS
  for (;;) {
    const lock = await bind().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') throw error
    })
    if (lock) return lock
    if (Date.now() > giveUpAt) throw new Error('Cannot install redis-server: another process has been at it for 10 min')
    await sleep(LOCK_POLL_MS)
  }
}

function bind(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(LOCK_ADDRESS, () => resolve(server))
  })
}
