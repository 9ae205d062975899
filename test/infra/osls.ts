import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** osls compiles its schema of serverless.yml in seconds, and keeps it by its hash. */
export const SCHEMAS = join(root, '.osls')

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>
  readonly Parameters?: Readonly<Record<string, unknown>>
}

export interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
  readonly Properties: any
}

export interface PackagedService {
  readonly template: Template
  /** Where the template is. */
  readonly templateFile: string
  /** What osls printed. */
  readonly output: string
}

/**
 * Packages the service in a folder into its `package/`, with no credentials and no home folder to take them from.
 *
 * @param modules Whose osls it is. Default: this repository's.
 */
export async function packageIn(folder: string, modules = join(root, 'node_modules')): Promise<PackagedService> {
  const home = join(folder, 'home')
  await mkdir(home)
  const osls = join(modules, '.bin/osls')
  const { stdout, stderr } = await run(process.execPath, [osls, 'package', '--package', 'package'], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: home, TMPDIR: home, SLS_SCHEMA_CACHE_BASE_DIR: SCHEMAS },
    timeout: 120_000,
  })
  const templateFile = join(folder, 'package/cloudformation-template-update-stack.json')
  const template = JSON.parse(await readFile(templateFile, 'utf8')) as Template
  return { template, templateFile, output: stdout + stderr }
}

/**
 * Packages a service of these functions, and resources, where millrace is installed as a user has it.
 *
 * @param functions The functions' options as YAML takes them; every handler does nothing.
 * @throws {Error} What osls refuses; the message is what it printed.
 */
export async function packageService(functions: object, more: object = {}): Promise<PackagedService> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-service-'))
  const service = {
    service: 'shop',
    plugins: ['millrace/serverless'],
    provider: { name: 'aws', runtime: 'nodejs24.x', versionFunctions: false },
    package: { patterns: ['!**', 'noop.js'] },
    functions,
    ...more,
  }
  try {
    await mkdir(join(folder, 'node_modules'))
    await symlink(root, join(folder, 'node_modules/millrace'))
    await writeFile(join(folder, 'noop.js'), 'exports.handler = async () => {}')
    await writeFile(join(folder, 'serverless.json'), JSON.stringify(service))
    return await packageIn(folder)
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(stdout + stderr || String(error), { cause: error })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
