/** `shop:orders-2` as `ShopOrders2`: what a logical id may hold. */
export function toLogicalId(name: string): string {
  return name
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}
