import { execFile } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { findUpwards } from '../local/service.ts'

const run = promisify(execFile)
const PROGRAMS = ['osls', 'serverless']
const TEMPLATE = 'cloudformation-template-update-stack.json'
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024

export interface PackagingOptions {
  /** The service's folder. */
  readonly project: string
  readonly stage: string | undefined
  /** Gets the template and the zip files; the folder that it is in, what packaging leaves behind. */
  readonly folder: string
  readonly signal: AbortSignal
}

/**
 * Packages a service with the osls that its project has installed.
 *
 * @returns The template's file.
 * @throws {Error} There is none, or it failed; the message has what it printed.
 */
export async function packageService({ project, stage, folder, signal }: PackagingOptions): Promise<string> {
  const program = PROGRAMS.map((name) => findUpwards(join('node_modules/.bin', name), project)).find(Boolean)
  if (program === undefined)
    throw new Error(`Cannot package: no osls in ${project} or above; npm install --save-dev osls, or name a --template`)
  const args = ['package', '--package', folder, ...(stage === undefined ? [] : ['--stage', stage])]
  try {
    await run(process.execPath, [await realpath(program), ...args], {
      cwd: project,
      env: { ...process.env, TMPDIR: dirname(folder) },
      signal,
      maxBuffer: MAX_OUTPUT_BYTES,
    })
  } catch (cause) {
    signal.throwIfAborted()
    const { stdout = '', stderr = '', message } = cause as Error & { stdout?: string; stderr?: string }
    throw new Error(`Cannot package:\n${`${stdout}${stderr}`.trim() || message}`, { cause })
  }
  return join(folder, TEMPLATE)
}
