/** A record on its way, as JSON. */
export interface RequestRecord {
  readonly entryId: string
  readonly json: string
}

/** What Lambda takes as one request. */
export const MAX_REQUEST_BYTES = 6_291_456

/** Several records share a request up to that: room for what Lambda may count that is not seen here. */
const FULL_BYTES = 6_000_000

/** The request's JSON of these records. */
export function requestJson(items: readonly RequestRecord[]): string {
  return `{"Records":[${items.map(({ json }) => json).join()}]}`
}

/** Bytes of a request with nothing in it. */
const FRAME_BYTES = requestJson([]).length

/** Packs records into as few requests as hold them, in order. An item too large for any is set apart. */
export function packRequests(items: readonly RequestRecord[]): {
  readonly requests: readonly (readonly RequestRecord[])[]
  readonly tooLarge: readonly RequestRecord[]
} {
  const requests: RequestRecord[][] = []
  const tooLarge: RequestRecord[] = []
  let room = 0
  for (const item of items) {
    const bytes = Buffer.byteLength(item.json) + 1 // and its comma
    if (bytes + FRAME_BYTES > MAX_REQUEST_BYTES) {
      tooLarge.push(item)
      continue
    }
    if (bytes > room || requests.length === 0) {
      requests.push([])
      room = FULL_BYTES - FRAME_BYTES
    }
    requests.at(-1)?.push(item)
    room -= bytes
  }
  return { requests, tooLarge }
}
