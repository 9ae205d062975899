import { defineCheck } from '../check.ts'
import { errorResult, unknownResult } from '../finding.ts'
import { compareVersions } from '../version.ts'

const NEEDS = 'sign-in by IAM needs TLS, and Valkey 7.2 or Redis 7.0'

/** AWS takes tokens only over TLS, and since an engine that few still run: what works elsewhere is another server's password. */
export const iamCheck = defineCheck({
  check: 'iam',
  scope: 'server',
  needs: ['info'],
  isFor: ({ signIn }) => signIn?.byIam === true,
  look({ info: server }, { signIn }) {
    const plain = errorResult(
      `The connection is not over TLS: ${NEEDS}`,
      'turn in-transit encryption on, and use rediss://',
    )
    return [...(signIn?.tls ? [] : [plain]), ...tooOld(server)]
  },
})

function tooOld({ valkey_version: valkey, redis_version: redis }: Readonly<Record<string, string>>) {
  const version = valkey ?? redis
  if (version === undefined)
    return [unknownResult(`The server does not report its version: ${NEEDS}`, 'look it up where the server is managed')]
  if (valkey !== undefined || compareVersions(version, '7.0.0') >= 0) return []
  return [
    errorResult(
      `Redis ${version} takes no token: ${NEEDS}`,
      'upgrade to Valkey 7.2 or newer, or Redis 7.0; until then, a password',
    ),
  ]
}
