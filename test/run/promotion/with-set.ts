import { callPrototype } from './call.ts'

/** Puts a mistake back: V8 links a Set's outgrown tables to their successors, so that dead ones in old space keep entries alive. */
const prototype = await callPrototype()
const { start, end } = prototype
const underWay = new Set<unknown>()

prototype.start = function () {
  underWay.add(this)
  return start.call(this)
}

prototype.end = function () {
  underWay.delete(this)
  end.call(this)
}
