/** What a millisecond is in the sorted set of due times: below it stands the delivery count, up to one less. Only the server keeps larger counts. */
export const COUNTS = 1_024

/** Scores from here on are no times: what was taken from an index stays in it, with its count, until its outcome is stored. */
export const RUNNING = 9e15
