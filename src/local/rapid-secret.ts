/** Carries the secret of a Runtime API in every request to it. */
export const RUNTIME_SECRET_HEADER = 'x-millrace-runtime'

/** Hands that secret to a function's process. Gone before the function is loaded. */
export const RUNTIME_SECRET_VARIABLE = 'MILLRACE_RUNTIME_SECRET'
