import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { poll } from 'millrace'
import { describe, expect, test } from 'vitest'
import { deskAt, page } from '../support/runbook.ts'
import { billing, names, startScenario } from '../support/scenario.ts'

const here = import.meta.dirname
const titles = [...page.matchAll(/^### (.*)$/gm)].map(([, title = '']) => title)

/** Words of the page's links and headings, as GitHub makes them. */
const anchorOf = (heading: string) => heading.toLowerCase().replaceAll(' ', '-')

describe('the runbook', () => {
  test('has a test for every cause that it names', async () => {
    const files = (await readdir(join(here, 'runbook'))).map((name) => readFile(join(here, 'runbook', name), 'utf8'))
    const tried = (await Promise.all(files)).flatMap((source) =>
      [...source.matchAll(/^ {2}test\('(.*)', async/gm)].map(([, title = '']) => title),
    )

    expect(tried.toSorted()).toEqual(titles.toSorted())
  })

  test('leads from every alarm and every row to a cause', async () => {
    const source = await readFile(join(here, '../../src/deploy/alarms.ts'), 'utf8')
    const troubles = [...source.matchAll(/trouble: '(.*)'/g)].map(([, trouble]) => trouble)
    const headings = [...page.matchAll(/^##+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading))
    const links = [...page.matchAll(/\]\(#(.*?)\)/g)].map(([, anchor]) => anchor)

    expect(troubles.length).toBeGreaterThan(4)
    for (const trouble of [...troubles, 'poller fails', 'claimer fails'])
      expect(page).toMatch(new RegExp(`^\\| .*${trouble}.* \\|`, 'm'))
    expect(links.filter((anchor) => !headings.includes(anchor as string))).toEqual([])
    for (const title of titles) expect(links).toContain(anchorOf(title))
  })

  test('says first what shows nothing wrong where nothing is', async () => {
    const scenario = await startScenario({ server: { args: ['--appendonly', 'yes'] } })
    const desk = deskAt(scenario)
    await scenario.publish(...names('o', 3))
    await poll(
      billing(() => {}),
      { redis: scenario.redis },
    )
    const [, first = ''] = /## Where to look first\n.*?```sh\n(.*?)```/s.exec(page) ?? []
    const [status = '', doctor = '', log = ''] = first
      .trim()
      .split('\n')
      .map((line) => line.replace(/ +#.*/, ''))
    desk.deploy({})
    await desk.invoke('shop-prod-ordersPoller')

    expect((await desk.run(status)).join('\n')).toMatch(/billing +0 +0 +0 +0 +- +1 +0 +-/)
    // but for the flaws of the server's own release, which is whichever is here
    const found = (await desk.run(doctor))
      .join('\n')
      .replace(/Warnings \(1\)\n {2}version: .*\n.*\n\n0 errors, 1 warning/, '0 errors, 0 warnings')
    expect(found).toMatch(/^(?!Errors|Warnings)[\s\S]*0 errors, 0 warnings$/)
    expect(await desk.run(log)).toEqual([])
  })
})
