/** Carries the secret of a Runtime API in every request to it. */
export const SECRET_HEADER = 'x-millrace-runtime'

/** Tells a function's process that secret. Gone before the function is loaded. */
export const SECRET_VARIABLE = 'MILLRACE_RUNTIME_SECRET'
