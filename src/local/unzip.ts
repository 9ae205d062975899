import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inflateRawSync } from 'node:zlib'

const END_OF_DIRECTORY = 0x06054b50
const STORED = 0

/** Unpacks a zip file into a folder. Answers the paths in it. @see https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
export async function unzip(file: string, folder: string): Promise<string[]> {
  const zip = await readFile(file)
  let end = zip.length - 22
  while (zip.readUInt32LE(end) !== END_OF_DIRECTORY) end--
  const paths = []
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [size, nameLength, extraLength, commentLength] = [20, 28, 30, 32].map((offset) =>
      offset === 20 ? zip.readUInt32LE(at + offset) : zip.readUInt16LE(at + offset),
    ) as [number, number, number, number]
    const path = zip.toString('utf8', at + 46, at + 46 + nameLength)
    const header = zip.readUInt32LE(at + 42)
    const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
    const content = zip.subarray(start, start + size)
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), zip.readUInt16LE(at + 10) === STORED ? content : inflateRawSync(content))
    paths.push(path)
    at += 46 + nameLength + extraLength + commentLength
  }
  return paths
}
