/** Scores from here on are of pages that cannot be read: out of the due order, the time of which is what is above it. */
export const UNREADABLE_SCORE = 9_000_000_000_000_000

/** The field of `events` that has how many events are delayed, and how many pages and buckets there are. */
export const DELAYED_COUNTS_FIELD = '#'

/** Bytes after which a page is split: with what Redis puts around a string, a size in which memory is given out. */
export const MAX_PAGE_BYTES = 8_184
