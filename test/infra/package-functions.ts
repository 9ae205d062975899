import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { unzip } from '../../src/local/unzip.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** What the packaging needs of the repository; its own working folders stay out of it. */
const COPIED = ['dist', 'functions', 'infra', 'package.json', 'package-lock.json', 'serverless.yml', 'tsconfig.json']

export interface PackagedFunctions {
  readonly template: Template
  /** Where the template is. */
  readonly templateFile: string
  /** A function's unpacked artefact, by the function's name. */
  readonly artefacts: Readonly<Record<string, Artefact>>
  /** What osls printed. */
  readonly output: string
  remove(): Promise<void>
}

interface Artefact {
  readonly folder: string
  /** Paths in the artefact. */
  readonly files: readonly string[]
}

interface Template {
  readonly Resources: Readonly<Record<string, Resource>>
  readonly Parameters: Readonly<Record<string, unknown>>
}

interface Resource {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
  readonly Properties: any
}

/** Packages the functions as `npm run package` does, in a folder of its own, with no credentials and no home folder to take them from. */
export async function packageFunctions(): Promise<PackagedFunctions> {
  const folder = await copyService()
  const home = join(folder, 'home')
  await mkdir(home)
  const osls = join(root, 'node_modules/.bin/osls')
  const { stdout, stderr } = await run(process.execPath, [osls, 'package', '--package', 'package'], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: home },
    timeout: 120_000,
  })
  const templateFile = join(folder, 'package/cloudformation-template-update-stack.json')
  const artefact = async (name: string) => {
    const unpacked = join(folder, 'artefacts', name)
    return { folder: unpacked, files: await unzip(join(folder, `package/${name}.zip`), unpacked) }
  }
  return {
    template: JSON.parse(await readFile(templateFile, 'utf8')) as Template,
    templateFile,
    artefacts: { ordersPoller: await artefact('ordersPoller'), ordersClaimer: await artefact('ordersClaimer') },
    output: stdout + stderr,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/** A copy of the service in a temporary folder, with the packages of the repository. */
export async function copyService(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-package-'))
  for (const name of COPIED) await cp(join(root, name), join(folder, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}
