"""All tables. Quantities are base units, money minor units, times aware UTC; identifiers are ours, refs are theirs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from core.store.database import Blob, Id, Json, Utc, only_where, room_for_changes

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _table(name: str, *parts: Any, **more: Any) -> Table:
    return Table(name, metadata, *parts, **more)


def _id() -> Column[Any]:
    return Column("id", Id, primary_key=True, autoincrement=False)


def _to(table: str, name: str = "", null: bool = False, index: bool = False) -> Column[Any]:
    return Column(name or f"{table.removesuffix('s')}_id", Id, ForeignKey(f"{table}.id"), nullable=null, index=index)


def _text(name: str, null: bool = False, size: int = 200, default: str | None = None) -> Column[Any]:
    return Column(name, String(size), nullable=null, server_default=default)


def _units(name: str) -> Column[Any]:
    return Column(name, Id, nullable=False, server_default="0")


def _flag(name: str, default: str | None = None) -> Column[Any]:
    return Column(name, Boolean, nullable=False, server_default=text(default) if default else None)


def _when(name: str, null: bool = False) -> Column[Any]:
    return Column(name, Utc, nullable=null)


# who works here
processes = _table(
    "processes",
    Column("id", Id, primary_key=True, autoincrement=True),
    _text("role"),
    Column("pid", Id, nullable=False),
    _when("started_at"),
    _when("beat_at"),
    _units("commits"),
    _when("stopped_at", null=True),
)
merchants = _table(
    "merchants",
    _id(),
    _text("code"),
    _text("name"),
    _text("short_policy", default="ask"),
    _flag("part_backing", default="true"),
    _text("unback", default="person"),
    Column("count_limit", Id, nullable=False, server_default="10"),
    _when("created_at"),
    UniqueConstraint("code"),
)
users = _table(
    "users",
    _id(),
    _text("name"),
    _text("password_hash", size=400),
    _text("role"),
    _to("merchants", null=True),
    _when("created_at"),
    UniqueConstraint("name"),
)
api_keys = _table(
    "api_keys",
    _id(),
    _text("name"),
    _text("digest"),
    _text("hint"),
    _text("role"),
    _to("merchants", null=True),
    _when("created_at"),
    _when("revoked_at", null=True),
    UniqueConstraint("digest"),
)
audit_log = _table(
    "audit_log", _id(), _when("at"), _text("actor"), _text("action"), _text("subject"), Column("detail", Json)
)

# who is connected
connections = _table(
    "connections",
    _id(),
    _text("code"),
    _text("connector"),
    _text("kind"),
    _to("merchants", null=True),
    Column("settings", Json, nullable=False),
    Column("secrets", Blob, nullable=False),
    Column("can", Json, nullable=False),
    _text("state", default="active"),
    _when("created_at"),
    _units("revision"),
    UniqueConstraint("code"),
)
doors = _table(
    "doors",
    _text("digest"),
    _to("connections", index=True),
    _text("hint"),
    _when("created_at"),
    _when("revoked_at", null=True),
    UniqueConstraint("digest"),
)
links = _table(
    "links",
    Column("connection_id", Id, ForeignKey("connections.id"), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("ref", String(200), primary_key=True),
    Column("ours", String(60), nullable=False),
    Column("pack", Id, nullable=False, server_default="1"),
    CheckConstraint("pack > 0", name="pack"),
    Index("ix_links_ours", "connection_id", "kind", "ours"),
)

# what is sold, where it lies
warehouses = _table(
    "warehouses",
    _id(),
    _text("code"),
    _text("name"),
    _text("region", default=""),
    _to("connections", "wms_id", null=True),
    _to("connections", "courier_id", null=True),
    _to("connections", "authority_id", null=True),
    *(
        Column(name, Id, nullable=False, server_default=default)
        for name, default in (
            ("residual_after_s", "900"),
            ("residual_max_units", "10"),
            ("residual_max_percent", "20"),
            ("snapshot_max_percent", "30"),
        )
    ),
    _text("carrier", default="OTHER"),
    Column("sender", Json),
    _when("created_at"),
    UniqueConstraint("code"),
)
keepers = _table(
    "keepers",
    Column("owner_id", Id, ForeignKey("merchants.id"), primary_key=True),
    Column("warehouse_id", Id, ForeignKey("warehouses.id"), primary_key=True),
    _text("code"),
    Index("ix_keepers_code", "warehouse_id", "code"),
)
items = _table(
    "items",
    _id(),
    _to("merchants", "owner_id"),
    _text("sku"),
    _text("name"),
    _text("unit", default="EA"),
    _flag("is_kit", default="false"),
    _flag("keeps_lots", default="false"),
    Column("near_expiry_days", Id),
    _when("created_at"),
    UniqueConstraint("owner_id", "sku"),
    Index("ix_items_near_expiry", "near_expiry_days", **only_where("near_expiry_days is not null")),
)
kit_parts = _table(
    "kit_parts",
    Column("kit_id", Id, ForeignKey("items.id"), primary_key=True),
    Column("part_id", Id, ForeignKey("items.id"), primary_key=True, index=True),
    Column("units", Id, nullable=False),
    CheckConstraint("units > 0", name="units"),
)
"""What one virtual kit is made of; an order keeps the recipe it was taken with."""
substitutes = _table(
    "substitutes",
    Column("item_id", Id, ForeignKey("items.id"), primary_key=True),
    Column("instead_id", Id, ForeignKey("items.id"), primary_key=True),
    _when("created_at"),
)
"""What a warehouse may send instead of an item: another item of the same owner."""
listings = _table(
    "listings",
    _id(),
    _to("connections"),
    _text("ref"),
    _text("product", default=""),
    _text("sku", default=""),
    _text("title", default=""),
    _to("items", index=True),
    Column("pack", Id, nullable=False, server_default="1"),
    _text("location", default=""),
    _units("threshold"),
    _units("buffer"),
    _when("created_at"),
    UniqueConstraint("connection_id", "ref"),
    CheckConstraint("pack > 0", name="pack"),
)
pools = _table(
    "pools",
    Column("connection_id", Id, ForeignKey("connections.id"), primary_key=True),
    Column("warehouse_id", Id, ForeignKey("warehouses.id"), primary_key=True),
    Column("rank", Id, nullable=False),
)

# the ledger
SHORT = "{0}open and {0}asked > {0}backed + {0}shipped"
cells = _table(
    "cells",
    _id(),
    _to("merchants", "owner_id"),
    _to("items", index=True),
    _to("warehouses"),
    _text("condition", size=2),
    *(_units(a) for a in ("free", "reserved", "held", "transit", "inbound", "suspense")),
    UniqueConstraint("owner_id", "item_id", "warehouse_id", "condition"),
    *(CheckConstraint(f"{a} >= 0", name=a) for a in ("free", "reserved", "held", "transit", "inbound")),
    **room_for_changes(50),
)
on_hand = cells.c.free + cells.c.reserved + cells.c.held + cells.c.suspense
"""What should lie in the warehouse of a cell."""
journals = _table(
    "journals",
    _id(),
    _text("key"),
    _text("kind"),
    _text("cause"),
    _when("happened_at", null=True),
    _when("recorded_at"),
    UniqueConstraint("key"),
)
# What the ledger writes out of rows it has just read has no foreign keys, which cost more than the rows: `audit` looks.
entries = _table(
    "entries",
    Column("journal_id", Id, primary_key=True),
    Column("n", Id, primary_key=True),
    Column("cell_id", Id, nullable=False, index=True),
    _text("account", size=10),
    _units("quantity"),
)
lots = _table(
    "lots",
    Column("item_id", Id, ForeignKey("items.id"), primary_key=True),
    Column("code", String(200), primary_key=True),
    _text("made_on", null=True, size=10),
    _text("expires_on", null=True, size=10),
)
"""Lots that were told of items that keep them; days as YYYY-MM-DD."""
lot_on_hand = _table(
    "lot_on_hand",
    Column("cell_id", Id, primary_key=True),
    Column("lot", String(200), primary_key=True),
    _units("units"),
)
lot_entries = _table(
    "lot_entries",
    Column("journal_id", Id, primary_key=True),
    Column("cell_id", Id, primary_key=True),
    Column("lot", String(200), primary_key=True),
    _units("units"),
    Index("ix_lot_entries_cell_id", "cell_id"),
)
assemblies = _table(
    "assemblies",
    _id(),
    _to("merchants", "owner_id"),
    _text("ref"),
    _to("warehouses"),
    _to("items"),
    Column("units", Id, nullable=False),
    _when("created_at"),
    UniqueConstraint("owner_id", "ref"),
)
"""Kits that were made of their parts; units below zero: that were taken apart."""
holds = _table(
    "holds",
    _id(),
    _to("merchants", "owner_id"),
    _text("ref"),
    _to("cells", index=True),
    _text("lot", null=True),
    _text("reason"),
    _text("who"),
    _units("units"),
    _units("remaining"),
    _when("opened_at"),
    _when("ended_at", null=True),
    _text("released_by", null=True),
    UniqueConstraint("owner_id", "ref"),
    CheckConstraint("remaining >= 0 and remaining <= units", name="units"),
)
"""Good units kept from being promised; remaining: those that are held still; released_by: who last gave some back."""
claims = _table(
    "claims",
    _id(),
    _text("kind", size=20),
    Column("order_id", Id),
    Column("line_id", Id),
    Column("holder_id", Id),
    _text("ref", null=True),
    Column("cell_id", Id, nullable=False, index=True),
    Column("part_id", Id),
    Column("per_kit", Id),
    _units("asked"),
    _units("backed"),
    _units("shipped"),
    _flag("soft"),
    _flag("open"),
    Column("fulfilment_id", Id),
    Column("contract_id", Id),
    _when("expires_at", null=True),
    CheckConstraint("asked >= 0 and backed >= 0 and shipped >= 0", name="units"),
    CheckConstraint("(order_id is null) <> (ref is null)", name="subject"),
    Index("ix_claims_order_id", "order_id", **only_where("order_id is not null")),
    Index("ix_claims_fulfilment_id", "fulfilment_id", **only_where("fulfilment_id is not null")),
    Index("ix_claims_contract_id", "contract_id", **only_where("contract_id is not null")),
    Index("ix_claims_ref", "ref", "holder_id", "kind", **only_where("ref is not null")),
    Index("ix_claims_expires", "expires_at", **only_where("expires_at is not null")),
    Index("ix_claims_short", "cell_id", **only_where(SHORT.format(""))),
)
"""What wants units of the pool: a line of an order, or (holder, kind, ref) of a caller who asked for them."""
pins = _table(
    "pins",
    Column("claim_id", Id, primary_key=True),
    Column("cell_id", Id, nullable=False),
    Column("lot", String(200), nullable=False),
    Index("ix_pins_cell_id", "cell_id", "lot"),
)
"""Claims that are for units of one lot alone; cell_id: the claim's."""
is_short = text(SHORT.format("claims."))
"""Whether a claim waits for units, in the words of the index of those that do."""
contracts = _table(
    "contracts",
    _id(),
    _to("merchants", "owner_id"),
    _text("ref"),
    _to("merchants", "beneficiary_id", index=True),
    _text("quota", size=10),
    _text("title_passes", size=10),
    _text("returns_to", size=11),
    _text("known_as", default=""),
    _text("currency", size=3),
    _when("valid_from"),
    _when("valid_until", null=True),
    _when("due_at", null=True),
    _text("who"),
    _when("created_at"),
    _when("ended_at", null=True),
    _text("ended_by", null=True),
    UniqueConstraint("owner_id", "ref"),
    Index("ix_contracts_due", "due_at", **only_where("due_at is not null")),
)
"""An owner lets a merchant sell its goods. quota: open (what was shipped may be sold again) or lifetime.

title_passes: at_ship (the merchant buys what it ships), at_reserve (what backs its orders) or never (it gets a fee).
returns_to: owner (what comes back is owed for no more) or beneficiary. due_at: when it next begins or ends.
known_as: the beneficiary's name where it buys of the owner as its distributor; "" where it does not.
"""
contract_items = _table(
    "contract_items",
    Column("contract_id", Id, ForeignKey("contracts.id"), primary_key=True),
    Column("item_id", Id, ForeignKey("items.id"), primary_key=True, index=True),
    Column("units", Id),
    Column("percent", Id),
    _units("price_minor"),
    _units("allowance"),
    _units("used"),
    CheckConstraint("(units is null) <> (percent is null)", name="quota"),
    CheckConstraint("allowance >= 0", name="allowance"),
)
"""What may be sold under a contract: units in all, of which `allowance` are left, or a share of what the owner has.

price_minor: per base unit, what the merchant owes the owner, or the fee it gets where title never passes.
"""
right_entries = _table(
    "right_entries",
    Column("journal_id", Id, primary_key=True),
    Column("contract_id", Id, primary_key=True),
    Column("item_id", Id, primary_key=True),
    Column("account", String(10), primary_key=True),
    _units("quantity"),
    Index("ix_right_entries_contract_id", "contract_id", "item_id"),
)
"""Rights that moved with a journal: granted, allowance and used add up to 0."""
settlement_lines = _table(
    "settlement_lines",
    _id(),
    _to("contracts", index=True),
    _to("items"),
    _to("orders", null=True),
    _to("order_lines", "line_id", null=True, index=True),
    _text("cause"),
    _units("units"),
    _units("price_minor"),
    _units("amount_minor"),
    _text("currency", size=3),
    _when("recorded_at"),
    Index("ix_settlement_lines_recorded_at", "recorded_at"),
)
"""What owner and merchant owe each other for what left under a contract, or passed when it backed an order.

units below 0: what came back, or was given back.
"""
hand_overs = _table(
    "hand_overs",
    Column("holder_id", Id, ForeignKey("merchants.id"), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("ref", String(200), primary_key=True),
    _to("connections"),
    _text("order_ref"),
    _to("orders", null=True),
    _when("created_at"),
    Index("ix_hand_overs_order", "connection_id", "order_ref"),
)
"""Which order takes over the units of a caller's reservation; order_id: once it has."""
locks = _table(
    "locks",
    _id(),
    _to("merchants", "owner_id"),
    _text("ref"),
    _text("kind", size=20),
    _to("connections"),
    Column("listings", Json, nullable=False),
    _when("starts_at"),
    _when("ends_at", null=True),
    _when("due_at", null=True),
    _text("who"),
    _when("created_at"),
    _when("ended_at", null=True),
    _text("ended_by", null=True),
    UniqueConstraint("owner_id", "ref"),
    Index("ix_locks_open", "connection_id", **only_where("ended_at is null")),
    Index("ix_locks_due", "due_at", **only_where("due_at is not null")),
)
"""Units kept for one shop. listings: the only ones they are for, [] is all; due_at: when it next begins or ends."""
lock_lines = _table(
    "lock_lines",
    Column("lock_id", Id, ForeignKey("locks.id"), primary_key=True),
    Column("cell_id", Id, primary_key=True),
    _to("claims"),
    Column("units", Id, nullable=False),
    CheckConstraint("units > 0", name="units"),
)
"""What a lock was asked to keep of a cell, and the claim that holds what nobody has drawn."""
lock_draws = _table(
    "lock_draws",
    Column("line_id", Id, primary_key=True),
    Column("cell_id", Id, primary_key=True),
    Column("lock_id", Id, primary_key=True, index=True),
    _units("units"),
    CheckConstraint("units >= 0", name="units"),
)
"""Units of a lock that an order line took, less those it gave back."""

# orders
vault_keys = _table(
    "vault_keys",
    _id(),
    Column("holder", Id, nullable=False),
    _text("month", size=7),
    Column("sealed", Blob, nullable=False),
    UniqueConstraint("holder", "month"),
)
parties = _table(
    "parties",
    _id(),
    _to("merchants", null=True),
    _to("vault_keys", "key_id"),
    Column("sealed", Blob, nullable=False),
    _text("kind"),
    _text("country"),
    _text("province"),
    _text("city"),
    _text("district"),
)
attachments = _table(
    "attachments",
    _text("digest"),
    Column("size", Id, nullable=False),
    _text("media_type"),
    _to("vault_keys", "key_id"),
    Column("sealed", Blob, nullable=False),
    _when("created_at"),
    UniqueConstraint("digest"),
)
orders = _table(
    "orders",
    _id(),
    _to("connections"),
    _to("merchants", index=True),
    _text("ref"),
    _text("version"),
    _text("status", size=20),
    _text("state", size=20),
    _flag("claims_stock"),
    _flag("may_ship"),
    _flag("closed"),
    Column("holds", Json, nullable=False),
    _text("counterpart_ref", default=""),
    _text("distributor", default=""),
    _text("resale", size=10, default=""),
    _to("orders", "counterpart_of", null=True),
    _when("placed_at"),
    _when("paid_at", null=True),
    _text("currency", size=3),
    _units("freight_minor"),
    _units("paid_minor"),
    _to("parties", null=True, name="party_id"),
    _when("created_at"),
    _when("changed_at"),
    UniqueConstraint("connection_id", "ref"),
    Index("ix_orders_state", "state"),
    Index("ix_orders_counterpart_ref", "counterpart_ref", **only_where("counterpart_ref <> ''")),
    Index("ix_orders_counterpart_of", "counterpart_of", **only_where("counterpart_of is not null")),
)
"""What shops sold. counterpart_of: the order of the same purchase that claims the stock of both; null for that one.

distributor, resale: who bought it to sell it on, by its name at the shop, and on whose account (see `Order`).
"""
order_lines = _table(
    "order_lines",
    _id(),
    _to("orders", index=True),
    _text("ref"),
    _to("listings", null=True, index=True),
    _to("items", null=True),
    _text("sku", default=""),
    _text("title", default=""),
    Column("pack", Id, nullable=False),
    Column("recipe", Json),
    _text("lot", default=""),
    _flag("bears_stock"),
    *(_units(u) for u in ("ordered", "cancelled", "short", "shipped", "returned", "fulfilled", "seen")),
    *(_units(m) for m in ("list_minor", "seller_discount_minor", "platform_discount_minor", "net_minor", "tax_minor")),
    _flag("tax_included"),
    UniqueConstraint("order_id", "ref"),
)
fulfilments = _table(
    "fulfilments",
    _id(),
    _text("ref"),
    _to("orders", index=True),
    _to("merchants"),
    _to("warehouses"),
    _text("state", size=20),
    _text("carrier", default="OTHER"),
    _text("waybill", default=""),
    _text("wms_ref", default=""),
    _flag("final"),
    _when("shipped_at", null=True),
    _when("created_at"),
    UniqueConstraint("ref"),
)
fulfilment_lines = _table(
    "fulfilment_lines",
    Column("fulfilment_id", Id, ForeignKey("fulfilments.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    _to("claims"),
    _to("order_lines", "line_id"),
    _to("items"),
    _text("sku"),
    _text("keeper"),
    _units("quantity"),
    _units("shipped"),
    _units("told"),
)
picks = _table(
    "picks",
    Column("fulfilment_id", Id, ForeignKey("fulfilments.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    Column("lot", String(200), primary_key=True),
    Column("cell_id", Id, nullable=False),
    _units("units"),
    _units("remaining"),
    CheckConstraint("remaining >= 0 and remaining <= units", name="units"),
    Index("ix_picks_cell_id", "cell_id", "lot", **only_where("remaining > 0")),
)
"""Lots a warehouse is told to send for a fulfilment's line; remaining: those that are still to leave."""
sent_instead = _table(
    "sent_instead",
    Column("fulfilment_id", Id, ForeignKey("fulfilments.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    Column("item_id", Id, ForeignKey("items.id"), primary_key=True),
    _units("quantity"),
)
"""Of what left for a fulfilment's line, the units of another item that went in place of the one ordered."""
parcels = _table(
    "parcels",
    _id(),
    _text("carrier"),
    _text("waybill"),
    _to("connections", "courier_id", null=True),
    _to("fulfilments", index=True),
    _to("orders", index=True),
    _to("merchants"),
    _text("milestone", size=30),
    _when("milestone_at", null=True),
    _when("created_at"),
    UniqueConstraint("carrier", "waybill"),
)
tracking_facts = _table(
    "tracking_facts",
    _id(),
    _to("parcels"),
    _text("key"),
    _text("code", size=60),
    _text("milestone", size=30),
    _text("place", default=""),
    _when("happened_at"),
    _when("recorded_at"),
    UniqueConstraint("parcel_id", "key"),
)
asns = _table(
    "asns",
    _id(),
    _text("ref"),
    _text("number"),
    _to("merchants", "owner_id"),
    _to("warehouses"),
    _text("keeper"),
    _text("state", size=20),
    _flag("inspect", default="false"),
    _when("created_at"),
    UniqueConstraint("owner_id", "ref"),
    UniqueConstraint("number"),
)
"""ref: the owner's number of it; number: the warehouse's, the same unless another owner's announcement has it.

inspect: good units are held on arrival until a person releases them.
"""
asn_lines = _table(
    "asn_lines",
    Column("asn_id", Id, ForeignKey("asns.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    _to("items"),
    _text("sku"),
    _units("quantity"),
    _units("received"),
)

# goods moved between warehouses, and counted
transfers = _table(
    "transfers",
    _id(),
    _text("number"),
    _to("merchants", "owner_id"),
    _to("merchants", "to_owner_id"),
    _text("ref"),
    _to("warehouses", "from_id"),
    _to("warehouses", "to_id"),
    _text("state", size=20),
    _when("created_at"),
    UniqueConstraint("number"),
    UniqueConstraint("owner_id", "ref"),
)
"""number: ours, as warehouses are told of it; ref: the asker's own; to_owner_id: whose they are once they have left."""
transfer_lines = _table(
    "transfer_lines",
    Column("transfer_id", Id, ForeignKey("transfers.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    _to("items"),
    _text("sku"),
    _to("claims"),
    *(_units(u) for u in ("quantity", "departed", "arrived", "lost", "came_back")),
    UniqueConstraint("transfer_id", "item_id"),
)
"""One line an item. On the way is what departed less what arrived, was lost or came back, while that is above 0."""
title_transfers = _table(
    "title_transfers",
    _id(),
    _to("merchants", "owner_id"),
    _to("merchants", "to_owner_id", index=True),
    _to("warehouses"),
    _text("ref"),
    _text("who"),
    _to("transfers", null=True),
    _when("created_at"),
    UniqueConstraint("owner_id", "ref"),
    Index("ix_title_transfers_created", "created_at"),
)
"""Goods that change their owner where they lie; transfer_id: what the warehouse is told, where it keeps them apart."""
title_lines = _table(
    "title_lines",
    Column("title_id", Id, ForeignKey("title_transfers.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    _to("items"),
    _text("condition", size=2),
    _units("units"),
    UniqueConstraint("title_id", "item_id", "condition"),
)
counts = _table(
    "counts",
    _id(),
    _to("merchants", "owner_id"),
    _to("warehouses"),
    _text("ref"),
    _text("state", size=20),
    _when("counted_at"),
    _text("asked_by"),
    _text("decided_by", null=True),
    _text("reason", null=True, size=2000),
    _when("created_at"),
    _when("decided_at", null=True),
    UniqueConstraint("owner_id", "ref"),
)
count_lines = _table(
    "count_lines",
    Column("count_id", Id, ForeignKey("counts.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    Column("cell_id", Id, nullable=False, index=True),
    _units("counted"),
    _units("expected"),
)
"""expected: on hand as the books had it when the cell was counted, as far as was known when the count was decided.

Where that may be several figures, the one nearest to what was counted.
"""

returns = _table(
    "returns",
    _id(),
    _to("connections"),
    _text("ref"),
    _to("warehouses"),
    _text("carrier", default=""),
    _text("waybill", default=""),
    _text("reason", default=""),
    _flag("final"),
    _when("created_at"),
    UniqueConstraint("connection_id", "ref"),
)
return_lines = _table(
    "return_lines",
    Column("return_id", Id, ForeignKey("returns.id"), primary_key=True),
    Column("n", Id, primary_key=True),
    Column("inbox_id", Id, nullable=False, index=True),
    _to("merchants", "owner_id"),
    _to("merchants", index=True),
    _to("items"),
    _text("condition", size=2),
    _units("quantity"),
    _to("orders", null=True),
    _to("order_lines", "line_id", null=True),
    Index("ix_return_lines_order_id", "order_id", **only_where("order_id is not null")),
)
"""Units that came back, as each message told them; merchant_id: whose order it was, else the owner."""
serial_facts = _table(
    "serial_facts",
    _id(),
    _to("items"),
    _text("serial"),
    _text("what", size=10),
    _to("fulfilments", null=True, index=True),
    _to("returns", null=True),
    Column("inbox_id", Id, nullable=False),
    _when("happened_at", null=True),
    _when("recorded_at"),
    Index("ix_serial_facts_serial", "serial", "item_id"),
)
"""That a unit with this serial left with a fulfilment, or came with a return."""

# the bus
inbox = _table(
    "inbox",
    _id(),
    _to("connections"),
    _text("kind", size=40),
    _text("ref"),
    _text("event_id", null=True),
    _text("version", null=True),
    _text("digest", size=64),
    Column("body", Blob, nullable=False),
    _to("vault_keys", "key_id"),
    Column("headers", Json, nullable=False),
    _text("part_of", null=True),
    Column("repeats", Id),
    _text("state", size=20),
    _text("problem", null=True, size=40),
    _text("reason", null=True, size=2000),
    _text("fix", null=True, size=20),
    _units("attempts"),
    _when("due_at"),
    _when("received_at"),
    _when("settled_at", null=True),
    UniqueConstraint("connection_id", "kind", "event_id"),
    Index("ix_inbox_latest", "connection_id", "kind", "ref", "id"),
    Index("ix_inbox_repeats", "repeats", **only_where("repeats is not null")),
    Index(
        "ix_inbox_waiting",
        "due_at",
        **only_where("state = 'waiting'"),
    ),
    Index(
        "ix_inbox_parked",
        "id",
        **only_where("state = 'parked'"),
    ),
)
"""repeats: the row of the document with other content that came first under this one's event id."""
outbox = _table(
    "outbox",
    _id(),
    _to("connections"),
    _to("merchants", null=True),
    _text("lane", size=20),
    _text("ability", size=40),
    _text("key"),
    _text("subject"),
    Column("payload", Json, nullable=False),
    Column("reached", Json, nullable=False),
    _text("state", size=20),
    _when("due_at"),
    _text("token", null=True, size=40),
    _when("lease_until", null=True),
    _units("attempts"),
    _units("absent"),
    _units("resends"),
    _text("their_ref", default=""),
    _text("problem", null=True, size=40),
    _text("reason", null=True, size=2000),
    _text("fix", null=True, size=20),
    _when("created_at"),
    _when("done_at", null=True),
    UniqueConstraint("connection_id", "ability", "subject"),
    Index(
        "ix_outbox_open",
        "lane",
        "due_at",
        **only_where("state in ('waiting', 'sending', 'in_doubt')"),
    ),
    Index(
        "ix_outbox_key",
        "connection_id",
        "key",
        "id",
        **only_where("state in ('waiting', 'sending', 'in_doubt', 'parked')"),
    ),
)
events = _table(
    "events",
    _id(),
    _text("type", size=60),
    _text("subject"),
    _to("merchants", null=True),
    _when("time"),
    Column("payload", Json, nullable=False),
    Index("ix_events_subject", "subject"),
)
cursors = _table(
    "cursors",
    Column("connection_id", Id, ForeignKey("connections.id"), primary_key=True),
    Column("ability", String(40), primary_key=True),
    Column("value", Json, nullable=False),
    _units("moves"),
    _when("due_at"),
    _when("lease_until", null=True),
    _when("read_until", null=True),
    _when("stale_at", null=True),
    _units("failures"),
    _text("reason", null=True, size=2000),
)
budgets = _table(
    "budgets",
    Column("account", String(200), primary_key=True),
    Column("second", Id, nullable=False),
    _units("used"),
    _text("day", size=10),
    _units("used_today"),
)
worklist = _table(
    "worklist",
    _id(),
    _text("kind", size=40),
    _text("subject"),
    _to("merchants", null=True),
    _text("reason", size=2000),
    _text("fix", size=20),
    _when("created_at"),
    _when("done_at", null=True),
    UniqueConstraint("kind", "subject"),
)
statements = _table(
    "statements",
    Column("day", String(10), primary_key=True),
    _when("made_at"),
    Column("breaches", Json, nullable=False),
    _units("found"),
    Column("figures", Json, nullable=False),
)
"""What was found and summed up of a day once it was over; found: how many breaches."""
tallies = _table("tallies", Column("name", String(60), primary_key=True), _units("n"))

# publishing
marks = _table("marks", _id(), Column("items", Json), Column("listing_id", Id))
"""What moved: the items of one commit, or one listing."""
shelves = _table(
    "shelves",
    Column("listing_id", Id, ForeignKey("listings.id"), primary_key=True),
    Column("told", Id),
    _units("seen_base"),
    _flag("doubt"),
    _flag("unknown", "false"),
    _units("doubts"),
    Column("shown", Id),
    _when("shown_at", null=True),
    _when("told_at", null=True),
    _when("first_told_at", null=True),
    _when("lowered_at", null=True),
    _units("lowered_by"),
)
"""lowered_at: when the shop was last told less than stood there by what we had heard; lowered_by: listing units less
it was told then and shortly before, while what it sold meanwhile may be unheard.
"""
seen = _table("seen", _id(), _to("listings", index=True), _units("units"), _to("orders"), _when("heard_at"))
comparisons = _table(
    "comparisons",
    _id(),
    Column("inbox_id", Id, nullable=False),
    Column("n", Id, nullable=False),
    _to("connections"),
    _to("warehouses", null=True),
    _text("keeper", default=""),
    _text("sku"),
    _text("condition", size=2),
    _to("items", null=True),
    *(_units(u) for u in ("theirs", "on_hand", "lowest", "highest", "residual")),
    _text("state", size=10),
    Column("first_id", Id, nullable=False),
    _when("as_of"),
    UniqueConstraint("inbox_id", "n"),
    Index("ix_comparisons_subject", "connection_id", "sku", "id"),
    Index("ix_comparisons_booked", "id", **only_where("state = 'booked'")),
)
"""What a source showed beside what the ledger allowed then. item_id: null where several owners' goods are meant.

first_id: the comparison since which the source has shown the same residual, itself at first. state: agrees, reported
(its source is no authority there), waits, asked, dismissed or booked.
"""
policies = _table(
    "policies",
    _id(),
    _to("merchants"),
    _to("connections", null=True),
    _to("listings", null=True),
    Column("version", Id, nullable=False),
    _text("state", size=10),
    *(Column(name, Id) for name in ("share", "floor", "cap", "reserve", "buffer", "exclusive", "priority")),
    _when("end_at", null=True),
    _when("due_at", null=True),
    _text("who"),
    _when("created_at"),
    _when("activated_at", null=True),
    _text("activated_by", null=True),
    Index("ix_policies_active", "merchant_id", **only_where("state = 'active'")),
    Index("ix_policies_exclusive", "listing_id", **only_where("state = 'active' and exclusive > 0")),
    Index("ix_policies_due", "due_at", **only_where("due_at is not null")),
)
"""Versions of what a listing, a shop's listings or all of a merchant's may show, in base units; share: per cent.

state: draft, active, replaced, withdrawn or over; due_at: when an active one is over.
"""
held_levels = _table(
    "held_levels",
    Column("listing_id", Id, ForeignKey("listings.id"), primary_key=True),
    _to("connections", index=True),
    _when("held_at"),
    _text("refused", size=2000, null=True),
)
"""Listings whose shop is told nothing until a person has looked: the run they were in would have swept its shelves.

refused: what the shop said where it would not take the level of this listing.
"""
passed_levels = _table(
    "passed_levels",
    Column("listing_id", Id, ForeignKey("listings.id"), primary_key=True),
    _to("connections", index=True),
    _when("counts_until", null=True),
    _flag("open"),
)
"""Listings that were let sweep. counts_until: until when it counts for the runs that follow, empty where it does not;
open: not told yet.
"""
publish_lags = _table(
    "publish_lags",
    Column("connection_id", Id, ForeignKey("connections.id"), primary_key=True),
    Column("minute", Utc, primary_key=True),
    Column("bucket_ms", Id, primary_key=True),
    _units("calls"),
    Index("ix_publish_lags_minute", "minute"),
)
"""Calls that told a shop its levels, by how long what moved had waited for them."""
oversold = _table(
    "oversold",
    _id(),
    _to("orders", index=True),
    Column("line_id", Id, nullable=False),
    _to("listings"),
    _to("connections"),
    _to("merchants"),
    _to("items"),
    _units("units"),
    _text("cause", size=20),
    Column("evidence", Json, nullable=False),
    _when("placed_at"),
    _when("recorded_at"),
    CheckConstraint("units > 0", name="units"),
    Index("ix_oversold_recorded", "merchant_id", "recorded_at"),
)
"""Base units a shop sold beyond what the pool could back when it was heard, and what was known then."""
showings = _table(
    "showings",
    Column("listing_id", Id, ForeignKey("listings.id"), primary_key=True),
    _units("shown"),
    _when("read_at"),
)
"""Saleable units each shop showed when it was last read to be reconciled."""
