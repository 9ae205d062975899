import type { EventOf, NonRetryableError } from 'millrace'
import { createHandlerContext } from 'millrace/testing'
import { describe, expect, test } from 'vitest'
import { OrderPaid, OrderShipped } from '../../functions/events/orders.ts'
import { bookShipment } from '../../functions/orders/book-shipment.ts'
import { sendReceipt } from '../../functions/orders/send-receipt.ts'

describe('OrderPaid', () => {
  test('lifts version 1 with the euro as its currency', () => {
    const lifted = OrderPaid.upcast[1]?.({ orderId: 'order-1', amount: '12.50' })

    expect(lifted).toEqual({ orderId: 'order-1', amount: '12.50', currency: 'EUR' })
  })
})

describe('OrderShipped', () => {
  test('refuses a shipment whose parcels are no number', async () => {
    const payload = { orderId: 'order-1', carrier: 'dhl', parcels: 'two' }

    expect(await OrderShipped.payload['~standard'].validate(payload)).toMatchObject({ issues: [{ path: ['parcels'] }] })
  })
})

describe('sendReceipt()', () => {
  test('mails the receipt at the first delivery', async () => {
    await expect(sendReceipt(aPayment(), createHandlerContext())).resolves.toBeUndefined()
  })

  test('fails twice while the mail server is busy, and succeeds at the third delivery', async () => {
    const event = aPayment({ orderId: 'busy-order-1' })
    const outcomes = []
    for (const deliveryCount of [1, 2, 3]) {
      const error = await sendReceipt(event, createHandlerContext({ deliveryCount })).catch((thrown: Error) => thrown)
      outcomes.push(error?.name)
    }

    expect(outcomes).toEqual(['MailServerBusyError', 'MailServerBusyError', undefined])
  })

  test('stops when its signal is aborted', async () => {
    const context = createHandlerContext({ signal: AbortSignal.abort() })

    await expect(sendReceipt(aPayment(), context)).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('bookShipment()', () => {
  test.each(['dhl', 'dpd', 'ups'])('books a pick-up with %s', async (carrier) => {
    await expect(bookShipment(aShipment({ carrier }), createHandlerContext())).resolves.toBeUndefined()
  })

  test('asks for no retry when there is no contract with the carrier', async () => {
    const error = await bookShipment(aShipment({ carrier: 'pigeon' }), createHandlerContext()).catch(
      (thrown: unknown) => thrown,
    )

    expect(error).toMatchObject({
      name: 'NonRetryableError',
      code: 'ERR_NON_RETRYABLE',
      message: 'No contract with carrier "pigeon"',
    } satisfies Partial<NonRetryableError>)
  })

  test('stops when its signal is aborted', async () => {
    const context = createHandlerContext({ signal: AbortSignal.abort() })

    await expect(bookShipment(aShipment(), context)).rejects.toMatchObject({ name: 'AbortError' })
  })
})

function aPayment(payload: Partial<EventOf<typeof OrderPaid>['payload']> = {}): EventOf<typeof OrderPaid> {
  return {
    type: 'OrderPaid',
    version: 2,
    eventId: 'evt-1',
    payload: { orderId: 'order-1', amount: '12.50', currency: 'EUR', ...payload },
  }
}

function aShipment(payload: Partial<EventOf<typeof OrderShipped>['payload']> = {}): EventOf<typeof OrderShipped> {
  return {
    type: 'OrderShipped',
    version: 1,
    eventId: 'evt-2',
    payload: { orderId: 'order-1', carrier: 'dhl', parcels: 1, ...payload },
  }
}
