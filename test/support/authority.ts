import { execFile } from 'node:child_process'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A private authority: the certificate of `redis.internal` and 127.0.0.1, and one for a client. */
export interface Authority {
  /** Of the files `ca.pem`, `server.pem` and `.key`, `client.pem` and `.key`; whoever made it removes it. */
  readonly dir: string
  readonly ca: Buffer
  readonly key: Buffer
  readonly cert: Buffer
  readonly clientKey: Buffer
  readonly clientCert: Buffer
}

/** Makes one with openssl. */
export async function makeAuthority(): Promise<Authority> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-tls-'))
  const at = (name: string) => join(dir, name)
  const run = (...args: string[]) => promisify(execFile)('openssl', args)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const days = ['-days', '2']
  await run('req', '-x509', ...key, ...days, '-subj', '/CN=ca', '-keyout', at('ca.key'), '-out', at('ca.pem'))
  for (const [name, subject] of [
    ['server', 'DNS:redis.internal,IP:127.0.0.1'],
    ['client', 'DNS:client'],
  ] as const) {
    const extension = ['-addext', `subjectAltName=${subject}`]
    await run(
      'req',
      ...key,
      '-subj',
      `/CN=${name}`,
      ...extension,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.csr`),
    )
    const signing = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-copy_extensions', 'copy']
    await run('x509', '-req', '-in', at(`${name}.csr`), ...signing, ...days, '-out', at(`${name}.pem`))
  }
  const read = (name: string) => readFile(at(name))
  const [ca, cert, serverKey, clientCert, clientKey] = await Promise.all(
    ['ca.pem', 'server.pem', 'server.key', 'client.pem', 'client.key'].map(read),
  )
  return { dir, ca, cert, key: serverKey, clientCert, clientKey } as Authority
}
