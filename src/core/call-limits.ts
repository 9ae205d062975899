/** How long somebody waits until a call of a function is accepted, in milliseconds. In less than `min` none is made: it might be accepted, and count as failed. */
export const CALL_MS = { min: 500, max: 2_000 } as const
