import { callPrototype } from './call.ts'

/** Puts a mistake back: V8 makes a function literal that is assigned to a member in old space, where it keeps the entry alive. */
const prototype = await callPrototype()
const { start } = prototype

prototype.start = function () {
  this.abort = (reason) => void [reason, this.jobs]
  return start.call(this)
}
