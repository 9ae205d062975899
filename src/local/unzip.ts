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
    const { path, content, next } = memberAt(zip, at)
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
    paths.push(path)
    at = next
  }
  return paths
}

/** The file that an entry of the directory names, unpacked, and where the next entry is. */
function memberAt(zip: Buffer, at: number) {
  const nameEnd = at + 46 + zip.readUInt16LE(at + 28)
  const header = zip.readUInt32LE(at + 42)
  const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
  const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20))
  return {
    path: zip.toString('utf8', at + 46, nameEnd),
    content: zip.readUInt16LE(at + 10) === STORED ? packed : inflateRawSync(packed),
    next: nameEnd + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32),
  }
}
