import { expect, test } from 'vitest'
import { parseRedisUrl } from '../../src/clients/url.ts'
import { createUrlClients } from '../../src/clients/url-clients.ts'

test.each([
  [{}, 2_000],
  [{ commandTimeout: 1_000 }, 2_000],
  [{ commandTimeout: 60_000 }, 24_000],
  [{ commandTimeout: 60_000, socketTimeout: 5_000 }, 5_000],
])('a client of a URL with %j is given up after a silence of %i ms', (options, silenceMs) => {
  const client = createUrlClients(parseRedisUrl('connect', 'redis://127.0.0.1:1'), options).make()
  client.disconnect()

  expect(client.options).toMatchObject({ socketTimeout: silenceMs })
})
