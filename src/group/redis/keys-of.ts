import type { CommandArgument, RedisCommand } from './transport.ts'

/** Where a command has its keys: from argument, to argument, the name being argument 0. */
const PLACES: Readonly<Record<string, (command: RedisCommand) => readonly [from: number, to: number]>> = {
  eval: scriptKeys,
  evalsha: scriptKeys,
  xreadgroup: streamKeys,
  xread: streamKeys,
  mget: (command) => [1, command.length],
  exists: (command) => [1, command.length],
  del: (command) => [1, command.length],
  memory: () => [2, 3],
  xgroup: () => [2, 3],
  xinfo: () => [2, 3],
  info: none,
  time: none,
  wait: none,
  scan: none,
  ping: none,
  echo: none,
  script: none,
}

function streamKeys(command: RedisCommand): readonly [number, number] {
  const from = command.indexOf('STREAMS') + 1
  return [from, from + (command.length - from) / 2]
}

function scriptKeys(command: RedisCommand): readonly [number, number] {
  return [3, 3 + Number(command[2])]
}

function none(): readonly [number, number] {
  return [0, 0]
}

/** Where the keys of a command of ours are: from argument, to argument (not included), its name being argument 0. */
export function commandKeyRange(command: RedisCommand): readonly [from: number, to: number] {
  return PLACES[command[0].toLowerCase()]?.(command) ?? [1, 2]
}

/** A command with that before each of its keys. */
export function withKeyPrefix(command: RedisCommand, prefix: string): RedisCommand {
  const [from, to] = commandKeyRange(command)
  return command.map((argument, at) =>
    at >= from && at < to ? prefixed(argument, prefix) : argument,
  ) as unknown as RedisCommand
}

function prefixed(key: CommandArgument, prefix: string): CommandArgument {
  return Buffer.isBuffer(key) ? Buffer.concat([Buffer.from(prefix), key]) : prefix + key
}
