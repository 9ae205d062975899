import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { Bytes } from '../../core/entry.ts'

/** Bytes of a value that are kept as they are. */
const MOST_BYTES = 128
/** Of a longer one those that are kept, beside its length and digest. */
const HEAD_BYTES = 96
const DIGEST_CHARACTERS = 64

/** A value for a reader. */
export interface ValueText {
  /** The value; of a long one the beginning. */
  readonly value: string
  /** How many bytes it has, where only the beginning of them is shown. */
  readonly bytes?: number
  /** Of all its bytes, in hexadecimal digits, where only the beginning of them is shown. */
  readonly sha256?: string
  /** It is no UTF-8: bytes that are no printable ASCII are shown as `\xff`. */
  readonly isUtf8?: false
}

/** A value as a short key, a character per byte: the same for the same bytes, and for no others. One of a megabyte keeps its beginning, length and digest. */
export function keyOfValue(value: Bytes): string {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  if (bytes.length <= MOST_BYTES) return bytes.toString('latin1')
  return bytes.toString('latin1', 0, HEAD_BYTES) + createHash('sha256').update(bytes).digest('hex') + bytes.length
}

/** The value of a key, as far as it has it. */
export function valueOfKey(key: string): ValueText {
  if (key.length <= MOST_BYTES) return textOf(Buffer.from(key, 'latin1'), true)
  const digest = key.slice(HEAD_BYTES, HEAD_BYTES + DIGEST_CHARACTERS)
  const bytes = Number(key.slice(HEAD_BYTES + DIGEST_CHARACTERS))
  return { ...textOf(Buffer.from(key.slice(0, HEAD_BYTES), 'latin1'), false), bytes, sha256: digest }
}

function textOf(bytes: Buffer, isWhole: boolean): ValueText {
  // a character may be cut in two
  const cuts = isWhole ? [0] : [0, 1, 2, 3]
  for (const cut of cuts) {
    const some = bytes.subarray(0, bytes.length - cut)
    if (isUtf8(some)) return { value: some.toString() }
  }
  const value = bytes.toString('latin1').replace(/[^\x20-\x7e]/g, (char) => `\\x${hex(char.charCodeAt(0))}`)
  return { value, isUtf8: false }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}
