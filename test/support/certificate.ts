import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A certificate that signed itself, for `localhost` and 127.0.0.1. */
export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  /** What trusts it. */
  readonly ca: Buffer
  remove(): Promise<void>
}

export async function makeCertificate(): Promise<Certificate> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-tls-'))
  const [certFile, keyFile] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const name = ['-subj', '/CN=orders', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await promisify(execFile)('openssl', [...made, '-keyout', keyFile, '-out', certFile, ...name])
  return { certFile, keyFile, ca: await readFile(certFile), remove: () => rm(dir, { recursive: true }) }
}
