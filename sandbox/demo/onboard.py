"""Onboarding as a person would do it, through the REST API; and the twins' side of each contract."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sandbox.demo import sharing
from sandbox.demo.goods import DISTRIBUTOR, KEEPER, MERCHANTS, OWNER, PARTNER, WAREHOUSES, Good
from sandbox.demo.town import SHOPS, TWINS, Town

SENDER = {
    "name": "一盘仓",
    "phone": "13800000000",
    "country": "CN",
    "province": "上海",
    "city": "上海市",
    "district": "青浦区",
}
LOAD = 4
"""Items on one truck: opening stock comes as several announcements."""
SENDER["address"] = "仓储路 1 号"


def onboard(town: Town, goods: list[Good]) -> None:
    """Merchants, warehouses, connections, items, listings, and goods on their way in."""
    for merchant in MERCHANTS:
        town.api("POST", "/merchants", {"code": merchant, "name": merchant.title()})
    callbacks = {name: _connect(town, name, None) for name in ("qimen", "sf")}
    _open_warehouses(town)
    for shop in SHOPS:
        _connect(town, shop, shop.partition("-")[2])
    _connect(town, "tryton", OWNER)
    _set_up_twins(town, goods, callbacks)
    town.api("POST", "/items", {"owner": OWNER, "items": [{"sku": g.sku, "name": g.title} for g in goods]})
    for seller, ref, some in ((PARTNER, "SHARED", goods), (DISTRIBUTOR, "LASTING", sharing.lasting(goods))):
        sharing.let_sell(town, seller, ref, [{"sku": g.sku, "percent": 100} for g in some], some)
    for shop in SHOPS:
        town.api("POST", "/listings", {"connection": shop, "listings": [_listing(shop, g) for g in goods]})
    for warehouse in WAREHOUSES:
        for n, load in enumerate(batched([g for g in goods if warehouse in g.stock], LOAD)):
            lines = [{"sku": g.sku, "quantity": g.stock[warehouse]} for g in load]
            new = {"owner": OWNER, "warehouse": warehouse, "ref": f"OPENING-{warehouse}-{n}", "lines": lines}
            town.api("POST", "/inbound", new)


def batched(goods: list[Good], size: int) -> list[list[Good]]:
    """The goods in truckloads."""
    return [goods[start : start + size] for start in range(0, len(goods), size)]


def _connect(town: Town, name: str, merchant: str | None) -> str:
    """Plug one twin in; the callback address it shall push to, if it pushes."""
    module = import_module(TWINS[name])
    settings = {**module.SETTINGS, **module.SECRETS, "base_url": town.twins[name]}
    if name == "qimen":
        settings["owner_codes"] = KEEPER
    connector = TWINS[name].removeprefix("sandbox.").replace(".", "/")
    pool = list(WAREHOUSES) if name in SHOPS else []
    new = {"code": name, "connector": connector, "merchant": merchant, "settings": settings, "pool": pool}
    callback = town.api("POST", "/connections", new)["callback"]
    return f"{town.url}{callback['path']}" if callback else ""


def _open_warehouses(town: Town) -> None:
    for code, wms_ref in WAREHOUSES.items():
        new = {"code": code, "name": code.title(), "region": code, "wms": "qimen", "wms_ref": wms_ref}
        town.api("POST", "/warehouses", {**new, "courier": "sf", "carrier": "SF", "sender": SENDER})
        keepers = [{"owner": owner, "code": KEEPER} for owner in (OWNER, PARTNER)]
        town.api("PUT", f"/warehouses/{code}/keepers", keepers)


def _set_up_twins(town: Town, goods: list[Good], callbacks: dict[str, str]) -> None:
    skus = [g.sku for g in goods]
    town.ask(
        "qimen", "setup", {"callback_url": callbacks["qimen"], "warehouses": list(WAREHOUSES.values()), "skus": skus}
    )
    town.ask("sf", "setup", {"callback_url": callbacks["sf"]})
    products = [{"id": 100 + g.n, "code": g.sku, "name": g.title} for g in goods]
    town.ask("tryton", "setup", {"products": products, "quantities": {g.sku: sum(g.stock.values()) for g in goods}})
    for shop in SHOPS:
        town.ask(shop, "setup", _tmall(goods) if shop.startswith("tmall") else _vendure(goods))


def _tmall(goods: list[Good]) -> dict[str, Any]:
    products: dict[str, Any] = {}
    for good in goods:
        product = products.setdefault(
            good.product, {"num_iid": good.product, "title": f"系列 {good.product}", "skus": []}
        )
        sku = {"sku_id": good.listing("tmall"), "outer_id": good.sku, "price": f"{good.price / 100:.2f}", "quantity": 0}
        product["skus"].append(sku)
    return {"products": list(products.values())}


def _vendure(goods: list[Good]) -> dict[str, Any]:
    rows = [{"id": g.listing("vendure"), "sku": g.sku, "name": g.title, "price": g.price, "on_hand": 0} for g in goods]
    return {"variants": rows}


def _listing(shop: str, good: Good) -> dict[str, Any]:
    mine = {"product": good.product} if shop.startswith("tmall") else {"location": "1"}
    return {"ref": good.listing(shop), "item": good.sku, "owner": OWNER, "title": good.title, **mine}
