import { execFile } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const TIMEOUT_MS = 300_000
/** What starts it, in a folder of its own so that it can be put into PATH. */
const PROGRAM = 'bin-here/redis-server'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** Where Debian is, unless this machine's own sources say so. */
const ARCHIVE = 'http://deb.debian.org/debian'

/** A server that Debian has in another suite than this machine's. */
interface DebianServer {
  /** The name of its folder in the cache. */
  readonly name: string
  /** The first suite has the server, the others its libraries. */
  readonly suites: readonly string[]
  readonly package: string
  readonly program: string
}

/** One row a server line that Debian has; sid and experimental move on. */
export const DEBIAN_SERVERS: readonly DebianServer[] = [
  { name: 'redis-8.0', suites: ['trixie'], package: 'redis-server', program: 'redis-server' },
  { name: 'redis-8-newest', suites: ['experimental', 'sid'], package: 'redis-server', program: 'redis-server' },
  { name: 'valkey-8', suites: ['trixie'], package: 'valkey-server', program: 'valkey-server' },
  { name: 'valkey-9', suites: ['sid'], package: 'valkey-server', program: 'valkey-server' },
]

/**
 * Unpacks a server of another Debian suite beside this system, once: nothing is installed. It is started with its own loader and libraries.
 *
 * @returns The path of a program that starts it.
 * @throws {Error} It cannot be had here: no apt, no network, or the suite has it no more.
 */
export async function unpackServer(server: DebianServer, cache = cacheFolder()): Promise<string> {
  const folder = join(cache, server.name)
  const program = join(folder, PROGRAM)
  if (await exists(program)) return program
  const work = await mkdtemp(join(tmpdir(), 'millrace-debian-'))
  try {
    const root = await unpack(server, work)
    await mkdir(cache, { recursive: true })
    await mkdir(join(root, 'bin-here'))
    await writeFile(join(root, PROGRAM), launcher(server.program))
    await chmod(join(root, PROGRAM), 0o755)
    // whoever was first has it; two at once have the same
    await rename(root, folder).catch(async (error: unknown) => {
      if (!(await exists(program))) throw error
    })
    return program
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'millrace', 'servers')
}

async function unpack(server: DebianServer, work: string): Promise<string> {
  const root = join(work, 'root')
  await Promise.all(
    ['root', 'lists/partial', 'cache/archives/partial'].map((name) => mkdir(join(work, name), { recursive: true })),
  )
  const archive = await archiveUrl()
  const lines = server.suites.map((suite) => `deb [signed-by=${KEYRING}] ${archive} ${suite} main\n`)
  await Promise.all([writeFile(join(work, 'sources.list'), lines.join('')), writeFile(join(work, 'status'), '')])
  const apt = (...args: string[]) => run('apt-get', [...aptOptions(work), ...args], options(work))
  await apt('update')
  const wanted = `${server.package}/${server.suites[0]}`
  const { stdout } = await apt('install', '-y', '--no-install-recommends', '--print-uris', wanted)
  const names = [...stdout.matchAll(/^'[^']+' ([^_ ]+)_/gm)].map(([, name = '']) => name)
  const needed = names.filter((name) => /^(redis|valkey|zlib|lib|lua)/.test(name) && !name.startsWith('libpam'))
  if (!needed.includes(server.package)) throw new Error(`suite ${server.suites[0]} has no package ${server.package}`)
  await apt(
    'download',
    ...needed.map((name) =>
      name === server.package || name.endsWith('-tools') ? `${name}/${server.suites[0]}` : name,
    ),
  )
  const packages = (await readdir(work)).filter((name) => name.endsWith('.deb'))
  for (const name of packages) await run('dpkg', ['-x', join(work, name), root], options(work))
  return root
}

function aptOptions(work: string): string[] {
  const settings = {
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}

const options = (cwd: string) => ({ cwd, timeout: TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 })

async function archiveUrl(): Promise<string> {
  const text = await readFile('/etc/apt/sources.list.d/debian.sources', 'utf8').catch(() => '')
  return /^URIs:\s*(\S+\/debian)\/?$/m.exec(text)?.[1] ?? ARCHIVE
}

/** Runs beside this system's libraries: with those that were unpacked, and the loader that belongs to them. */
function launcher(program: string): string {
  return `#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
machine=$(uname -m)
libraries=$here/usr/lib/$machine-linux-gnu:$here/lib/$machine-linux-gnu
for loader in "$here"/usr/lib/$machine-linux-gnu/ld-linux-*.so.* "$here"/lib/$machine-linux-gnu/ld-linux-*.so.*; do
  [ -x "$loader" ] && exec "$loader" --library-path "$libraries" "$here/usr/bin/${program}" "$@"
done
echo 'the unpacked server has no loader' >&2
exit 1
`
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
