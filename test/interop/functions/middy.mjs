// As Middy's documentation has it, for an SQS queue.
import middy from '@middy/core'
import sqsPartialBatchFailure from '@middy/sqs-partial-batch-failure'

const lambdaHandler = (event) =>
  Promise.allSettled(
    event.Records.map(async (record) => {
      const { fails } = JSON.parse(record.body)
      if (fails) throw new Error('as it was told to')
    }),
  )

export const handler = middy().use(sqsPartialBatchFailure()).handler(lambdaHandler)
