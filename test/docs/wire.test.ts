import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createPublisher, poll } from 'millrace'
import { expect, onTestFinished, test } from 'vitest'
import { encodeEnvelope } from '../../src/core/codec.ts'
import { appendExpectingScript } from '../../src/group/redis/scripts/append-expecting.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { publishOnceScript } from '../../src/group/redis/scripts/publish-once.ts'
import { findPython } from '../../tools/find-python.ts'
import { DELAYED, passDelays, promoteAll } from '../support/delays.ts'
import { billing, noting, OrderPaid, type Scenario, startScenario } from '../support/scenario.ts'

const page = await readFile(new URL('../../docs/wire.md', import.meta.url), 'utf8')
const codeIn = (language: string, n = 0) =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))][n]?.[1] ?? ''

const DAY_MS = 86_400_000

/** Runs the page's program against a server. @returns What it prints, line by line. */
async function runPython({ server }: Scenario): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-wire-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'delay.lua'), codeIn('lua'))
  await writeFile(join(folder, 'publish.py'), codeIn('python'))
  const args = ['publish.py', server.host, `${server.port}`]
  const { stdout } = await promisify(execFile)(await findPython(), args, { cwd: folder })
  return stdout.trim().split('\n')
}

test('the page has the scripts that publishers call, word for word', () => {
  const plain = (lua: string) => lua.trim().replace(/\n{2,}/g, '\n\n')

  expect([0, 1, 2].map((n) => codeIn('lua', n).trim())).toEqual(
    [delayEventScript.lua, publishOnceScript.lua, appendExpectingScript.lua].map(plain),
  )
})

test('the page has every field of an entry, and at most 30 lines of Python', () => {
  const texts = {
    aggregateType: 'a',
    aggregateId: 'a',
    tenantId: 't',
    producer: 'p',
    occurredAt: 'o',
    traceparent: 't',
  }
  const fields = encodeEnvelope({ type: 'T', version: 2, aggregateVersion: 1, payload: '1', eventId: 'e', ...texts })

  for (const [name] of fields) expect(page).toMatch(new RegExp(`^\\|.*\`${name}\``, 'm'))
  expect(codeIn('python').trim().split('\n').length).toBeLessThanOrEqual(30)
})

test('what Python publishes is handled, its flag keeps others from waking, and its delay comes', async () => {
  const scenario = await startScenario()
  const { redis, raw } = scenario
  const { calls, handler } = noting()
  const woken: string[] = []
  const wake = {
    group: 'billing',
    windowMs: 5_000,
    wake: async () => void woken.push('woken'),
    onError: (error: Error) => void woken.push(error.message),
  }

  const printed = await runPython(scenario)

  expect(printed).toEqual(['invoke the poller', expect.stringMatching(/^\[1, '\d{13}'\]$/)])
  expect(Number(/\d{13}/.exec(printed[1] ?? '')) - Date.now()).toBeGreaterThan(DAY_MS - 60_000)
  await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'o-3' })
  expect(woken).toEqual([])
  await poll(billing(handler), { redis })
  expect(calls).toEqual(['o-1', 'o-3'])
  await passDelays(raw, DAY_MS)
  expect([await promoteAll(redis), await raw.exists(DELAYED)]).toEqual([1, 0])
  await poll(billing(handler), { redis })
  expect(calls).toEqual(['o-1', 'o-3', 'o-2'])
})
