import { readFile } from 'node:fs/promises'

/** What is used of a `.cpuprofile`. */
interface Profile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  /** Microseconds between the samples. */
  readonly timeDeltas: readonly number[]
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}

/** How much of a profile is printed, and of what run it is. */
interface Printed {
  /** Functions in the table. */
  readonly top: number
  readonly count: number
  readonly cpuMs: number
}

/** Prints, of a CPU profile, the functions with the most time of their own, and whose that time is. */
export async function printTopFunctions(file: string, { top, count, cpuMs }: Printed): Promise<void> {
  const times = selfTimes(JSON.parse(await readFile(file, 'utf8')) as Profile)
  const busyUs = sum([...times].filter(([place]) => !isIdle(place)).map(([, us]) => us))
  const share = (us: number) => `${((us / busyUs) * 100).toFixed(1).padStart(5)} %`
  const perEvent = (us: number) => `${(us / count).toFixed(3).padStart(7)} µs`
  console.log(
    `${count} events; ${(busyUs / 1_000).toFixed(0)} ms of the main thread, ${cpuMs.toFixed(0)} ms of all threads`,
  )
  console.log('\nTime of its own, and for each event')
  for (const [place, us] of [...times]
    .filter(([place]) => !isIdle(place))
    .sort(byTime)
    .slice(0, top))
    console.log(`${share(us)}  ${perEvent(us)}  ${place}`)
  console.log('\nWhose time')
  const owners = [...Map.groupBy(times, ([place]) => ownerOf(place))]
  const totals = owners.map(([owner, all]) => [owner, sum(all.map(([, us]) => us))] as const)
  for (const [owner, us] of totals.filter(([owner]) => owner !== 'idle').sort(byTime))
    console.log(`${share(us)}  ${perEvent(us)}  ${owner}`)
}

/** Microseconds by function and where it stands. */
function selfTimes({ nodes, samples, timeDeltas }: Profile): Map<string, number> {
  const places = new Map(nodes.map((node) => [node.id, placeOf(node)]))
  const times = new Map<string, number>()
  for (const [n, id] of samples.entries()) {
    const place = places.get(id) as string
    times.set(place, (times.get(place) ?? 0) + Math.max(0, timeDeltas[n] ?? 0))
  }
  return times
}

function placeOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const file = url.replace(/^file:\/\//, '').replace(/^.*\/(?=(node_modules|dist|bench)\/)/, '')
  return `${functionName || '(anonymous)'}${file ? ` ${file}:${lineNumber + 1}` : ''}`
}

function ownerOf(place: string): string {
  if (isIdle(place)) return 'idle'
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(place) ?? []
  if (name) return name
  if (place.includes(' dist/')) return 'millrace'
  if (place.includes(' bench/')) return 'bench'
  if (place.includes(' node:')) return 'Node.js'
  return place.startsWith('(garbage') ? 'garbage collection' : 'V8 and system calls'
}

const isIdle = (place: string) => place === '(idle)'
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
const byTime = (a: readonly [string, number], b: readonly [string, number]) => b[1] - a[1]
