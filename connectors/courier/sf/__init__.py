"""SF Express (顺丰): waybills booked and parcels tracked through its 丰桥 gateway."""
