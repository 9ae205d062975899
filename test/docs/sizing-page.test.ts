import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { planLines } from '../../src/cli/plan-lines.ts'
import { resolveSettings } from '../../src/define/consumer-settings.ts'
import { plan } from '../../src/operate/plan/plan.ts'
import { bytesEach } from '../../src/operate/sizing.ts'

const page = await readFile(join(import.meta.dirname, '../../docs/sizing.md'), 'utf8')

function rows(pattern: RegExp): number[][] {
  return [...page.matchAll(pattern)].map(([, ...cells]) => cells.map((cell) => Number(cell?.replaceAll(',', ''))))
}

test('tables of docs/sizing.md have the bytes that plan and doctor count with', () => {
  const byEntry = rows(/^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$/gm)
  const { pending, setAside, markers } = bytesEach(512)

  const { setAside: inOrder } = bytesEach(512, 1)

  expect(byEntry).toHaveLength(7)
  for (const [entryBytes = 0, ...bytes] of byEntry) {
    const { entries, delays, deadLetters } = bytesEach(entryBytes)
    expect(bytes).toEqual([entries, delays, deadLetters].map(Math.round))
  }
  expect(rows(/^\| an? [^|]+ \| ([\d,]+) \|$/gm)).toEqual([[pending], [setAside], [inOrder], [markers]])
})

test('docs/sizing.md shows what plan prints', () => {
  const options = { eventsPerSecond: 5, entryBytes: 800, maxmemoryMb: 512 }
  const lines = planLines('A consumer', plan(resolveSettings('plan', {}), options), options)
  const at = lines.findIndex((line) => line.startsWith('Memory'))

  expect(page).toContain(`\`\`\`text\n${lines.slice(at, at + 2).join('\n')}\n\`\`\``)
})
