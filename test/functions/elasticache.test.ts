import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIamClient, createIamToken } from '../../functions/elasticache.ts'
import { startRedisServer } from '../../tools/redis-server.ts'

/** AWS's own example of a key, not a secret. */
const SIGNER = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  region: 'eu-central-1',
}
const NOW = new Date('2026-11-24T08:00:00Z')

describe('createIamToken()', () => {
  // the signatures are those of @smithy/signature-v4, which the AWS SDK signs with
  test.each([
    [undefined, '899438f02b746cc8ed2b084d9fe9dc693112c8ba917f42b277fd3b5fd65d2cc3'],
    ['session/token+with=signs', '0d35ccd5b2509542af34d7c8f2639202a81a00c9a081287f9148698c640ff983'],
  ])("signs as AWS's SDK does, with session token %s", (sessionToken, signature) => {
    const token = createIamToken('orders-dev', 'orders-poller-dev', { ...SIGNER, sessionToken }, NOW)
    const { pathname, searchParams } = new URL(`http://${token}`)

    expect(token).toMatch(/^orders-dev\/\?Action=connect&User=orders-poller-dev&/)
    expect([pathname, Object.fromEntries(searchParams)]).toEqual([
      '/',
      {
        Action: 'connect',
        User: 'orders-poller-dev',
        'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
        'X-Amz-Credential': 'AKIDEXAMPLE/20261124/eu-central-1/elasticache/aws4_request',
        'X-Amz-Date': '20261124T080000Z',
        'X-Amz-Expires': '900',
        ...(sessionToken !== undefined && { 'X-Amz-Security-Token': sessionToken }),
        'X-Amz-SignedHeaders': 'host',
        'X-Amz-Signature': signature,
      },
    ])
  })
})

describe('createIamClient()', () => {
  test('logs in with another token after its connection broke', async () => {
    const server = await startRedisServer()
    const admin = new Redis(server.url)
    onTestFinished(async () => {
      admin.disconnect()
      await server.stop()
    })
    const allow = (token: string) =>
      admin.call('ACL', 'SETUSER', 'poller', 'on', 'resetpass', `>${token}`, '~*', '+@all')
    let tokens = 0
    const url = `redis://poller@${server.host}:${server.port}?iam=orders-dev`
    const client = createIamClient(url, () => `token-${++tokens}`)
    onTestFinished(() => client.disconnect())

    const answers = []
    for (const token of ['token-1', 'token-2']) {
      await allow(token)
      await admin.call('CLIENT', 'KILL', 'USER', 'poller')
      answers.push(await client.ping())
    }

    expect(answers).toEqual(['PONG', 'PONG'])
  })
})
