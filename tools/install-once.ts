import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const COMMAND_TIMEOUT_MS = 300_000
const LOCK_POLL_MS = 250
const LOCK_TIMEOUT_MS = 600_000

/** What has to be held to install. A bound address is released by the system, however its holder dies. */
const LOCK_ADDRESS = process.platform === 'linux' ? { path: '\0millrace-install' } : { host: '127.0.0.1', port: 46_379 }

/** RUNLEVEL=1 keeps Debian's packages from starting services of their own. */
const APT_ENV = ['env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1']
const APT_INSTALL = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300']

/** Something that tests run, and that this machine may have to get. */
export interface Installable {
  /** What it is, for who reads. */
  readonly name: string
  /** The path of the program, if it is here. */
  find(): Promise<string | undefined>
  readonly aptPackages: readonly string[]
  readonly brewFormula?: string
  /** A sentence for whoever has to do it by hand, without a full stop. */
  readonly howToInstall: string
}

/**
 * Finds a program, and installs it without asking if it is not there: with apt-get (as root or by a sudo that asks no password) or brew. Any number of processes
 * may call this at once: one installs, the others wait for it.
 *
 * @returns The program's path.
 * @throws {Error} Nothing here can install it, or the installation failed.
 */
export async function findOrInstall(wanted: Installable): Promise<string> {
  return (await wanted.find()) ?? (await withInstallLock(wanted.name, () => install(wanted)))
}

async function install(wanted: Installable): Promise<string> {
  const { name, howToInstall } = wanted
  const installedMeanwhile = await wanted.find()
  if (installedMeanwhile) return installedMeanwhile
  const installer = await chooseInstaller(wanted)
  if (!installer) throw new Error(`Cannot find ${name}: it is not in PATH. ${howToInstall}`)
  process.stderr.write(`${name} is not in PATH: installing it with ${installer.name}\n`)
  try {
    await installer.install()
  } catch (cause) {
    throw new Error(`Cannot install ${name} with ${installer.name}. ${howToInstall}`, { cause })
  }
  const installed = await wanted.find()
  if (!installed) throw new Error(`${installer.name} installed ${name}, but it is not in PATH. ${howToInstall}`)
  return installed
}

interface Installer {
  readonly name: string
  install(): Promise<void>
}

async function chooseInstaller({ aptPackages, brewFormula }: Installable): Promise<Installer | undefined> {
  if (await findInPath('apt-get')) {
    if (process.getuid?.() === 0) return { name: 'apt-get', install: () => installWithApt([], aptPackages) }
    if (await isSudoWithoutPassword())
      return { name: 'sudo apt-get', install: () => installWithApt(['sudo', '-n'], aptPackages) }
  }
  if (brewFormula !== undefined && (await findInPath('brew')))
    return { name: 'brew', install: () => execute(['brew', 'install', brewFormula]) }
  return undefined
}

async function installWithApt(prefix: readonly string[], packages: readonly string[]): Promise<void> {
  const aptGet = [...prefix, ...APT_ENV, 'apt-get']
  // One unreachable source fails the update though the others may well have the package: the installation decides.
  await execute([...aptGet, 'update']).catch(() => {})
  await execute([...aptGet, ...APT_INSTALL, ...packages])
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

export async function findInPath(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder || '.', program)
    if (await isExecutable(path)) return path
  }
  return undefined
}

export function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** Runs `work` while no other process of this machine runs its own. */
async function withInstallLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lock = await takeInstallLock(name)
  try {
    return await work()
  } finally {
    lock.close()
  }
}

async function takeInstallLock(name: string): Promise<Server> {
  const giveUpAt = Date.now() + LOCK_TIMEOUT_MS
  for (;;) {
    const lock = await bind().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') throw error
    })
    if (lock) return lock
    if (Date.now() > giveUpAt) throw new Error(`Cannot install ${name}: another process has been installing for 10 min`)
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
