import pg from 'pg'

/** Runs a statement with its values `$1`, `$2` …; resolves to its rows. */
export type Query = <Row>(text: string, values?: readonly (string | number)[]) => Promise<Row[]>

export interface Database {
  /** All that `work` asks for, or nothing of it. */
  transaction<Result>(work: (query: Query) => Promise<Result>): Promise<Result>
  /** Runs statements without values, as a file of them: all or none. */
  script(text: string): Promise<unknown>
  close(): Promise<void>
}

/** @param url `postgres://…`; or `pglite:` and a folder, or nothing for memory: Postgres within this process, for tests and demos. */
export async function connect(url: string): Promise<Database> {
  return url.startsWith('pglite:') ? embedded(url.slice('pglite:'.length)) : remote(url)
}

function remote(connectionString: string): Database {
  const pool = new pg.Pool({
    connectionString,
    max: 2,
    connectionTimeoutMillis: 5_000,
    lock_timeout: 5_000,
    statement_timeout: 10_000,
    query_timeout: 15_000,
    // a relay that was frozen, or cut off, must let go: later than a batch takes
    idle_in_transaction_session_timeout: 30_000,
  })
  pool.on('error', () => {}) // the statement that failed says so
  return {
    async transaction(work) {
      const client = await pool.connect()
      const losses: unknown[] = []
      const lose = (error: unknown) => losses.push(error)
      client.on('error', lose)
      try {
        await client.query('begin')
        const result = await work(async (text, values = []) => (await client.query(text, [...values])).rows)
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback').catch(lose)
        throw error
      } finally {
        client.off('error', lose)
        client.release(losses.length > 0)
      }
    },
    script: (text) => pool.query(text), // several in one are a transaction
    close: () => pool.end(),
  }
}

async function embedded(folder: string): Promise<Database> {
  const { PGlite } = await import('@electric-sql/pglite')
  const db = await PGlite.create(folder || 'memory://')
  return {
    transaction: (work) =>
      db.transaction((one) => work(async (text, values = []) => (await one.query(text, [...values])).rows as never)),
    script: (text) => db.transaction((one) => one.exec(text)),
    close: () => db.close(),
  }
}

/** `DATABASE_URL` as it is, otherwise what the SSM parameter that `DATABASE_URL_PARAMETER` names holds. */
async function databaseUrl(): Promise<string> {
  const { DATABASE_URL, DATABASE_URL_PARAMETER } = process.env
  if (DATABASE_URL) return DATABASE_URL
  if (!DATABASE_URL_PARAMETER) throw new Error('DATABASE_URL_PARAMETER, or DATABASE_URL for local runs, must be set')
  const { GetParameterCommand, SSMClient } = await import('@aws-sdk/client-ssm')
  const command = new GetParameterCommand({ Name: DATABASE_URL_PARAMETER, WithDecryption: true })
  const { Parameter } = await new SSMClient().send(command, { abortSignal: AbortSignal.timeout(5_000) })
  if (/^postgres(ql)?:\/\/./.test(Parameter?.Value ?? '')) return Parameter?.Value as string
  throw new Error('The parameter that DATABASE_URL_PARAMETER names must hold a postgres:// URL')
}

export const database = await connect(await databaseUrl())
