/** What a command of a policy answers: bulk strings as text, and an error reply as an `Error`. */
export type PlainReply = null | number | string | Error | readonly PlainReply[]
